/* The returns lane (src/broker/queue_returns.cpp, shm/reaper.cpp). Party 0 polled a message and puts it back; it may die at any step (DIES).
 * Helpers 1 and 2 reap it, of which 1 may stop for good (STOPS). Consumers 3 and 4 poll the lane, release what they get, and use the chunk for
 * another message in the main ring, so that slots of the lane may name a chunk that is somebody else's by now.
 *
 *   Step      one d_step = one access to shared memory plus work on private variables; `r` says which comes next.
 *   Chunk     word = state | owner | generation (cs, co, g). Lane: position p holds generation lane[p], 0 = never filled; the insertion is the
 *             CAS16 of ring.pml, done as one step on the position found before it.
 *   Ghosts    handed[g] = times generation g was handed out; put = the word said OFFERED for the lane; counted = times counted as abandoned. */
#ifndef DIES
#define DIES 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#define COMPLETES true      /* a reaper commits what the dead had OFFERED to the lane */
#define LOOKS true          /* ... unless the lane holds it: not needed, a second slot of one generation is passed over */
#define GENERATION true     /* a claim compares the generation */
#define LANEOFDEST true     /* it is the lane that is looked into, not the main ring */
#define P 5
mtype = { FREE, OWNED, OFFERED, CLAIMED };
mtype cs=CLAIMED; byte co; byte g=1; byte inflight;
byte lane[P]; byte main; byte handed[6]; byte counted; bool put; bool dead; bool stop; byte reaped; byte left;

inline insert(gen){            /* find, then CAS; a failure finds again */
  do
  :: d_step{ k=0; do :: k<P && lane[k]!=0 -> k++ :: else -> break od };
     assert(k<P);
     d_step{ if :: lane[k]==0 -> lane[k]=gen; l=true :: else -> l=false fi };
     if :: l -> break :: else -> skip fi
  od; k=0; l=false }

proctype Returner(){ byte k; bool l;
  { inflight=2;
    d_step{ cs=OFFERED; co=0; g=2; put=true };
    insert(2) } unless { dead; skip };
  left++ }

proctype Reaper(byte me){ byte k,n; bool l; mtype x;
  dead;
  { do
    :: d_step{ x=cs; n=g; l=(co==0) };
       if
       :: !l || x==FREE -> break
       :: l && x==CLAIMED -> d_step{ if :: cs==x && co==0 && g==n -> cs=FREE; counted++ :: else -> skip fi }
       :: l && x==OFFERED && inflight!=n -> break
       :: else ->
          d_step{ k=0; l=false;
            if :: LANEOFDEST -> do :: k<P -> l=(l || lane[k]==n); k++ :: else -> break od :: else -> l=(main==n) fi };
          if
          :: l && (LOOKS || !LANEOFDEST) -> break
          :: else ->
             if
             :: COMPLETES && LANEOFDEST -> insert(n); break
             :: else -> d_step{ if :: cs==x && co==0 && g==n -> cs=FREE; counted++ :: else -> skip fi }
             fi
          fi
       fi
    od } unless { stop && me==1; skip };
  reaped++; left++ }

/* Polls twice; the lane first, then the main ring. */
proctype Consumer(byte me){ byte k,n,p,rounds; bool l,got; mtype x;
  do
  :: rounds<2 ->
     rounds++; p=0; got=false;
     if :: rounds==2 -> (left>=1 && (!dead || reaped==2)) :: else -> skip fi;   /* the last poll comes when everything is settled */
     do
     :: p<P && !got -> d_step{ n=lane[p]; p++ };
        if :: n==0 -> p=P
           :: else -> d_step{ if :: cs==OFFERED && (!GENERATION || g==n) -> assert(g==n); cs=CLAIMED; co=me; handed[n]++; assert(handed[n]==1); got=true
                                 :: else -> skip fi } fi
     :: else -> break
     od;
     if
     :: !got -> d_step{ n=main; if :: n!=0 && cs==OFFERED && g==n -> cs=CLAIMED; co=me; handed[n]++; assert(handed[n]==1); got=true :: else -> skip fi }
     :: else -> skip
     fi;
     if
     :: got -> cs=FREE;
        d_step{ if :: cs==FREE && g<4 -> cs=OWNED; co=me; l=true :: else -> l=false fi };
        if :: l -> d_step{ cs=OFFERED; g++ }; main=g :: else -> skip fi
     :: else -> skip
     fi
  :: else -> break
  od; left++ }

proctype Chaos(){ if :: DIES && left==0 -> dead=true :: else -> skip fi; if :: STOPS -> stop=true :: else -> skip fi }

proctype Monitor(){
  timeout;
  assert(!dead || reaped==2);
  assert(!put || counted==0);                            /* what was put back is handed out, not counted as lost */
  assert(handed[2]==(put -> 1 : 0));
  assert(!dead || put || counted==1) }

init { atomic{ run Returner(); if :: DIES -> run Reaper(1); run Reaper(2) :: else -> skip fi; run Consumer(3); run Consumer(4); run Chaos(); run Monitor() } }
