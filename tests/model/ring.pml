/* The ring (shm/ring.hpp): producers, consumers, a remover, a reaper. `check` replaces PARTIES and VICTIM (who may die, before any step).
 *
 *   Step       one d_step = one access to shared memory plus work on private variables; `r` says which comes next.
 *   Positions  count modulo M, so that they wrap; DIFF is what unsigned subtraction gives. A run starts at START with both hints LAG
 *              positions behind, as if somebody had been stopped between reading a hint and raising it.
 *   Ghosts     waiting, lastpos, nextpos, ended, was_full: known to the assertions only.
 *   Settings   N slots per ring (power of two), CAP capacity, NC chunks, NR rings, START, LAG.
 * Sequentially consistent: memory orders need other means. */
#ifndef N
#define N 2
#endif
#ifndef CAP
#define CAP 1
#endif
#ifndef NC
#define NC 2
#endif
#ifndef NR
#define NR 1
#endif
#ifndef START
#define START 14
#endif
#ifndef LAG
#define LAG 0
#endif
#define M 16
#define NP 4                  /* parties that own chunks */
#define NONE 14               /* no chunk */
#define CLOSED 15             /* the close sentinel, as a reference */
#define DIFF(a,b) (((a)+M-(b))%M)
#define AHEAD(a,b) (DIFF(a,b)!=0 && DIFF(a,b)<M/2)
#define NEXT(t) (((t)+1)%M)
#define LAP(p) (((p)+M-N)%M)
#define AT(d,t) ((d)*N+(t)%N)
#define MATCH(c,q) ((c)<NC && st[c]==OFFERED && gen[c]==(q))
mtype = { FREE, OWNED, OFFERED, CLAIMED };
byte pos[NR*N]; byte rc[NR*N]; byte rg[NR*N];              /* slot: position+1, reference = chunk and generation */
byte head[NR]; byte tail[NR];                             /* hints */
mtype st[NC]=FREE; byte own[NC]; byte gen[NC]; byte dest[NC]; byte data[NC];    /* chunk: word (st, own, gen), destination, message */
byte infc[NP]=NONE; byte infg[NP];                        /* in-flight word of each process */
bool crash[NP+1]; bool dead[NP+1];
byte waiting[NR]; byte lastpos[NR]; byte nextpos[NR]; bool ended[NR]; byte made;
/* values of r */
#define POS 0
#define REF 1
#define REPOS 2
#define HEAD 3
#define WALK 4
#define WREF 5
#define WPOS 6
#define WWORD 7
#define LOAD 8
#define STORE 9
#define ROOM 10
#define CAS 11
#define READ 12
#define DONE 20
#define FULL 21
#define EMPTY 22
#define ENDED 23

/* Commits (i,g) to ring d from t on; i==CLOSED is the sentinel. Result r: DONE at t, FULL, ENDED. */
inline insert(d,i,g){
  do
  :: d_step{ r==POS -> p=pos[AT(d,t)]; r=REF }
  :: d_step{ r==REF -> c=rc[AT(d,t)]; q=rg[AT(d,t)];
       if :: c==CLOSED -> r=REPOS                         /* whatever lap it belongs to */
          :: c!=CLOSED && AHEAD(p,t) -> t=p; r=POS
          :: else -> r=((i==CLOSED || (!AHEAD(known,t) && DIFF(t,known)<CAP)) -> CAS : HEAD) fi }     /* the sentinel ignores cap: N >= CAP+1 */
  :: d_step{ r==REPOS -> r=(pos[AT(d,t)]==p -> ENDED : POS) }
  :: d_step{ r==HEAD -> h=head[d]; known=h;
       if :: AHEAD(h,t) -> t=h; r=POS                     /* others went on beyond t */
          :: else -> r=(DIFF(t,h)<CAP -> CAS : WALK) fi }
  :: d_step{ r==WALK ->                                   /* over claimed positions, not beyond t */
       if :: !AHEAD(t,h) -> r=LOAD
          :: else -> w=pos[AT(d,h)]; assert(!AHEAD(NEXT(h),w));       /* below an unfilled position everything is filled */
             if :: w==NEXT(h) -> r=WREF :: else -> h=LAP(w) fi fi }
  :: d_step{ r==WREF -> c2=rc[AT(d,h)]; q2=rg[AT(d,h)]; r=WPOS }
  :: d_step{ r==WPOS -> if :: pos[AT(d,h)]!=w -> r=WALK :: else -> r=(c2==CLOSED -> LOAD : WWORD) fi }
  :: d_step{ r==WWORD -> if :: MATCH(c2,q2) -> was_full=(waiting[d]==CAP); r=LOAD :: else -> h=NEXT(h); r=WALK fi }
  :: d_step{ r==LOAD -> w=head[d]; r=(AHEAD(h,w) -> STORE : ROOM); w=0; c2=0; q2=0 }
  :: d_step{ r==STORE -> head[d]=h; r=ROOM }
  :: d_step{ r==ROOM ->
       if :: AHEAD(h,t) -> t=h; r=POS                     /* a walk that was lapped ends beyond t */
          :: !AHEAD(h,t) && DIFF(t,h)<CAP -> r=CAS
          :: else -> assert(was_full); r=FULL fi }        /* was_full: h was seen unclaimed at a moment when cap messages were waiting */
  :: d_step{ r==CAS ->
       if :: pos[AT(d,t)]==p && rc[AT(d,t)]==c && rg[AT(d,t)]==q ->   /* commit */
             assert(!ended[d]); assert(t==lastpos[d]); assert(!MATCH(c,q));
             pos[AT(d,t)]=NEXT(t); rc[AT(d,t)]=i; rg[AT(d,t)]=g; r=DONE; lastpos[d]=NEXT(t);
             if :: i==CLOSED -> ended[d]=true :: else -> waiting[d]++; assert(waiting[d]<=CAP) fi
          :: else -> r=POS fi }
  :: r>=DONE -> break
  od; skip }

proctype Prod(byte me; byte n; byte d){                   /* n messages, to ring d, d+1, ... */
  byte i,g,t,h,p,c,q,w,c2,q2,r,known=(START+M-LAG)%M; bool was_full;                 /* known: an earlier head */
  { do
    :: n>0 ->
       d_step{ i=0; do :: i<NC && st[i]!=FREE -> i++ :: else -> break od;           /* the pool has a model of its own */
               if :: i<NC -> st[i]=OWNED; own[i]=me; made++; data[i]=made; dest[i]=d; g=gen[i]+1; :: else -> skip fi };
       if
       :: i==NC -> skip
       :: else ->
          d_step{ infc[me]=i; infg[me]=g };
          d_step{ assert(st[i]==OWNED && own[i]==me); st[i]=OFFERED; gen[i]=g };
          d_step{ t=tail[d]; r=POS };
          insert(d,i,g);
          if
          :: r==DONE -> d_step{ t=NEXT(t); w=tail[d] }; if :: AHEAD(t,w) -> tail[d]=t :: else -> skip fi
          :: else -> d_step{ assert(st[i]==OFFERED && own[i]==me && gen[i]==g); st[i]=OWNED };
                     d_step{ assert(st[i]==OWNED && own[i]==me); st[i]=FREE; own[i]=0 }
          fi
       fi;
       d_step{ n--; d=(d+1)%NR; i=0; g=0; t=0; h=0; p=0; c=0; q=0; w=0; c2=0; q2=0; r=0; was_full=false }
    :: else -> break
    od }
  unless { crash[me]; dead[me]=true } }

proctype Cons(byte me; byte n; byte d){                   /* n attempts */
  byte h,p,c,q,r,m;
  { do
    :: n>0 ->
       d_step{ h=head[d]; r=POS };
       do
       :: d_step{ r==POS -> p=pos[AT(d,h)];
            if :: AHEAD(p,NEXT(h)) -> h=LAP(p)
               :: p==NEXT(h) -> r=REF
               :: else -> r=EMPTY; assert(waiting[d]==0) fi }
       :: d_step{ r==REF -> c=rc[AT(d,h)]; q=rg[AT(d,h)]; r=REPOS }
       :: d_step{ r==REPOS -> if :: pos[AT(d,h)]!=p -> r=POS :: else -> r=(c==CLOSED -> ENDED : CAS); assert(c!=CLOSED || waiting[d]==0) fi }
       :: d_step{ r==CAS ->                               /* claim */
            if :: MATCH(c,q) -> st[c]=CLAIMED; own[c]=me; m=data[c]; r=LOAD; assert(h==nextpos[d]); nextpos[d]=NEXT(h); waiting[d]--
               :: else -> h=NEXT(h); r=POS fi }
       :: d_step{ r==LOAD -> p=head[d]; h=NEXT(h); r=(AHEAD(h,p) -> STORE : READ) }
       :: d_step{ r==STORE -> head[d]=h; r=READ }
       :: d_step{ r==READ -> assert(data[c]==m); r=DONE }
       :: r>=DONE -> break
       od;
       if :: r==DONE -> d_step{ assert(st[c]==CLAIMED && own[c]==me); st[c]=FREE; own[c]=0 } :: else -> skip fi;
       d_step{ n--; h=0; p=0; c=0; q=0; r=0; m=0 }
    :: else -> break
    od }
  unless { crash[me]; dead[me]=true } }

proctype Remover(byte me; byte d){
  byte t,h,p,c,q,w,c2,q2,r,known; bool was_full;
  { d_step{ t=tail[d]; r=POS }; insert(d,CLOSED,0) }      /* the tail hint is left where it is: at the sentinel, never beyond */
  unless { crash[me]; dead[me]=true } }

proctype Chaos(byte v){ crash[v]=true }

proctype Reaper(byte v){ byte c,g,d,i; bool f; mtype s;
  (dead[v]);
  do
  :: c<NC ->
     d_step{ s=(own[c]==v -> st[c] : FREE); g=gen[c] };
     if :: s==OFFERED -> d_step{ s=((infc[v]==c && infg[v]==g) -> OFFERED : FREE) } :: else -> skip fi;
     if :: s==OFFERED ->
           d_step{ d=dest[c]; i=0 };
           do :: i<N && !f -> d_step{ f=(rc[d*N+i]==c && rg[d*N+i]==g); i++ } :: else -> break od;
           if :: f -> s=FREE :: else -> skip fi           /* committed */
        :: else -> skip fi;
     if :: s!=FREE -> d_step{ if :: st[c]==s && own[c]==v && gen[c]==g -> st[c]=FREE; own[c]=0 :: else -> skip fi } :: else -> skip fi;
     d_step{ c++; s=FREE; g=0; d=0; i=0; f=false }
  :: else -> break
  od }

/* At rest: a consumer that starts from the hint gets all that was committed, in order, up to the end; then every chunk is free. */
proctype Monitor(){ byte c,d,h,p; bool f;
  timeout ->
  d_step{
   do :: d<NR ->
      h=head[d]; f=true;
      do
      :: f -> p=pos[AT(d,h)]; c=rc[AT(d,h)];
         if :: AHEAD(p,NEXT(h)) -> h=LAP(p)
            :: p==NEXT(h) && c==CLOSED -> assert(ended[d]); f=false
            :: p==NEXT(h) && c!=CLOSED ->
               if :: MATCH(c,rg[AT(d,h)]) -> assert(h==nextpos[d]); nextpos[d]=NEXT(h); waiting[d]--; st[c]=FREE :: else -> skip fi;
               h=NEXT(h)
            :: else -> assert(!ended[d]); f=false fi
      :: else -> break
      od;
      assert(waiting[d]==0); assert(!AHEAD(tail[d],lastpos[d]) && (!ended[d] || tail[d]!=lastpos[d])); d++
   :: else -> break od;
   c=0; do :: c<NC -> assert(st[c]==FREE); c++ :: else -> break od } }

init { byte d,i;
  d_step{ do :: d<NR ->
      i=0; do :: i<N -> pos[AT(d,START+M-1-i)]=(START+M-i)%M; rc[AT(d,START+M-1-i)]=NONE; i++ :: else -> break od;
      head[d]=(START+M-LAG)%M; tail[d]=head[d]; lastpos[d]=START; nextpos[d]=START; d++ :: else -> break od; d=0; i=0 };
  atomic{ PARTIES VICTIM run Monitor() } }
