/* Helped reaping (shm/reaper.hpp, shm/process_table.hpp). Slot 0 has died; 1 and 2 are live helpers; a newcomer without a slot (record 3, the
 * visitor's) joins, reaps if the table is full, and works in the slot it got. Helper 1 may stop for good (STOPS=1) or die (STOPS=2).
 *
 *   Step       one d_step = one access to shared memory plus work on private variables; `r` says which comes next.
 *   Process    word = state | epoch (st, ep), byte lock, `reaping` hazard (rs, re). Chunk word = state | slot, without epoch: the hazard
 *              keeps a slot from being reused under a helper. One thread record: owner (slot, epoch) and in-flight chunk.
 *   Chunk 0    OFFERED by the dead, named by its in-flight word, not in any ring. Chunk 1 CLAIMED by the dead; a lease may expire meanwhile.
 *   Rules      the #defines with true: each, switched off, must break an assertion. */
#ifndef STOPS
#define STOPS 0
#endif
#define RECHECK true        /* the process word is read again after the hazard was published */
#define HAZARDS true        /* SWEPT -> FREE looks at all hazards */
#define RETRY true          /* a failed CAS on a chunk reads it again */
#define WORDFIRST true      /* the word is read before the lock is tested */
#define CLEARS true         /* a joiner clears the hazard that its record was left with */
#define THREADSLATE true    /* thread records are freed after the chunk pass */
#define BITLAST true        /* the attached bit is cleared after the chunk pass */
#define NS 3
#define VISITOR 3
#define NONE 9
mtype = { FREE, JOINING, LIVE, DEAD, SWEPT, OWNED, OFFERED, CLAIMED, REVOKED };
mtype st[4]=LIVE; byte ep[4]=5; byte rs[4]=NONE; byte re[4]; bool lock[4];
mtype cs[2]; byte co[2];
byte to, te=5, inflight; bool attached=true;              /* thread record: owner slot and epoch; the dead's bit in one queue's entry */
bool stop, visitor; bool gone[4]; byte newSlot=NONE;      /* visitor: its byte is locked */
/* values of r */
#define WORD 0
#define LOCK 1
#define KILL 2
#define ANNOUNCE 3
#define AGAIN 4
#define OWNER 5
#define INFLIGHT 6
#define EARLY 7
#define LOOK 8
#define CAS 9
#define THREAD 10
#define BIT 11
#define SWEEP 12
#define WITHDRAW 13
#define REUSE 14
#define HELPER 15
#define STATE 16
#define RELEASE 17
#define OUT 18

/* One help of slot s from record me. */
inline help(me,s){
  r=WORD;
  do
  :: d_step{ r==WORD -> if :: WORDFIRST -> e=ep[s]; x=st[s] :: else -> l=lock[s]; x=LIVE fi;
       if :: x==DEAD -> r=ANNOUNCE :: x==LIVE || x==JOINING -> r=LOCK :: else -> r=REUSE fi }
  :: d_step{ r==LOCK -> if :: WORDFIRST -> l=lock[s] :: else -> e=ep[s]; x=st[s] fi;
       r=((!l && (x==LIVE || x==JOINING)) -> KILL : REUSE) }
  :: d_step{ r==KILL -> if :: st[s]==x && ep[s]==e -> st[s]=DEAD; assert(!lock[s]); r=ANNOUNCE :: else -> r=REUSE fi }
  :: d_step{ r==ANNOUNCE -> rs[me]=s; re[me]=e; r=(RECHECK -> AGAIN : OWNER) }
  :: d_step{ r==AGAIN -> r=((st[s]==DEAD && ep[s]==e) -> OWNER : WITHDRAW) }
  :: d_step{ r==OWNER -> f=NONE; c=0; r=((to==s && te==e) -> INFLIGHT : EARLY) }
  :: d_step{ r==INFLIGHT -> f=inflight; r=EARLY }
  :: d_step{ r==EARLY -> if :: !THREADSLATE && to==s && te==e -> to=NONE :: else -> skip fi;
                         if :: !BITLAST -> attached=false :: else -> skip fi; r=LOOK }
  :: d_step{ r==LOOK -> x=cs[c]; l=(x==FREE || co[c]!=s || (x==OFFERED && f!=c)); c=(l -> c+1 : c); r=(l -> (c==2 -> THREAD : LOOK) : CAS) }
  :: d_step{ r==CAS -> if :: cs[c]==x && co[c]==s -> assert(!lock[s]); assert(x!=OFFERED || attached); cs[c]=FREE; co[c]=NONE; c++
                          :: else -> c=(RETRY -> c : c+1) fi; r=(c==2 -> THREAD : LOOK) }
  :: d_step{ r==THREAD -> if :: to==s && te==e -> to=NONE :: else -> skip fi; r=BIT }
  :: d_step{ r==BIT -> if :: s==0 && e==5 -> attached=false :: else -> skip fi; r=SWEEP }
  :: d_step{ r==SWEEP -> if :: st[s]==DEAD && ep[s]==e -> st[s]=SWEPT :: else -> skip fi; r=WITHDRAW }
  :: d_step{ r==WITHDRAW -> rs[me]=NONE; r=REUSE; x=FREE; f=NONE; l=false }
  :: d_step{ r==REUSE -> e=ep[s]; k=0; r=(st[s]==SWEPT -> HELPER : OUT) }
  :: d_step{ r==HELPER -> r=((HAZARDS && k!=me && rs[k]==s && re[k]==e) -> STATE : (k==NS -> RELEASE : HELPER)); k=(r==HELPER -> k+1 : k) }
  :: d_step{ r==STATE -> if :: k==VISITOR -> l=visitor :: else -> l=(st[k]==LIVE || st[k]==JOINING) fi;
       r=(l -> OUT : (k==NS -> RELEASE : HELPER)); k=(r==HELPER -> k+1 : k) }
  :: d_step{ r==RELEASE -> if :: st[s]==SWEPT && ep[s]==e -> st[s]=FREE; ep[s]=e+1; c=0;
                                 do :: c<2 -> assert(cs[c]==FREE || co[c]!=s); c++ :: else -> break od
                              :: else -> skip fi; r=OUT }
  :: r==OUT -> break
  od; skip;
  d_step{ x=FREE; e=0; c=0; k=0; f=NONE; l=false; r=0 } }

proctype Helper(byte me){ byte e,c,f,k,r; bool l; mtype x;
  { help(me,0); help(me,0) } unless { stop && me==1; skip };
  d_step{ if :: stop && me==1 && STOPS==2 -> lock[1]=false :: else -> skip fi; gone[me]=true } }

proctype Chaos(){ if :: STOPS>0 && !gone[1] -> stop=true :: true fi }

proctype Expirer(){ if :: d_step{ cs[1]==CLAIMED && co[1]==0 && ep[0]==5 -> cs[1]=REVOKED } :: true fi }

inline join(s){
  if
  :: newSlot==NONE && st[s]==FREE ->
     d_step{ l=!lock[s]; lock[s]=true };
     if
     :: l ->
        d_step{ if :: st[s]==FREE -> st[s]=JOINING; newSlot=s :: else -> lock[s]=false fi };
        if
        :: newSlot==s ->
           if :: CLEARS -> rs[s]=NONE :: else -> skip fi;
           st[s]=LIVE;
           d_step{ if :: to==NONE -> to=s; te=ep[s]; inflight=NONE :: else -> skip fi };             /* works: a thread record and free chunks */
           c=0; do :: c<2 -> d_step{ if :: cs[c]==FREE -> cs[c]=OWNED; co[c]=s :: else -> skip fi; c++ } :: else -> break od;
           c=0; do :: c<2 -> assert(co[c]!=s || cs[c]!=FREE); c++ :: else -> break od
        :: else -> skip
        fi
     :: else -> skip
     fi
  :: else -> skip
  fi;
  c=0; l=false }

proctype Newcomer(){ byte e,c,f,k,r; bool l; mtype x;
  join(0);
  (gone[1] && gone[2]) ->          /* attach waits for nobody: this only lets the helpers' last attempt count as a chance */
  if :: newSlot==NONE -> visitor=true; help(VISITOR,0); help(VISITOR,1); visitor=false; join(0); join(1) :: else -> skip fi;
  assert(newSlot!=NONE || STOPS==1);
  if :: newSlot!=NONE -> assert(rs[newSlot]==NONE) :: else -> skip fi;     /* no slot waits because of a hazard that nobody meant */
  if :: newSlot==1 -> help(1,0) :: newSlot==0 -> help(0,1) :: else -> skip fi;
  d_step{ c=0; do :: c<2 -> assert(cs[c]==FREE || co[c]==newSlot || STOPS==1); c++ :: else -> break od;
    assert(STOPS==1 || st[0]==FREE || newSlot==0) } }

init { atomic{
  lock[1]=true; lock[2]=true; cs[0]=OFFERED; cs[1]=CLAIMED;
  run Helper(1); run Helper(2); run Chaos(); run Expirer(); run Newcomer() } }
