/* The ring (shm/ring.hpp): producers, consumers, a remover, a reaper; who dies is told by VICTIM, which `check` replaces.
 *
 *   Step       one statement (or d_step) = one access to shared memory plus work on private variables.
 *   Positions  count modulo M, so that they wrap; DIFF is what unsigned subtraction gives. A run starts at START with both hints LAG
 *              positions behind, as if somebody had been stopped between reading a hint and raising it.
 *   Ghosts     waiting, claimed, lastpos, ended: known to the assertions only.
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
#define NP 6
#define NONE 14               /* no chunk */
#define CLOSED 15             /* the close sentinel, as a reference */
#define FREE 0
#define OWNED 1
#define OFFERED 2
#define CLAIMED 3
#define BUSY 0
#define DONE 1
#define FULL 2
#define EMPTY 3
#define ENDED 4
#define DIFF(a,b) (((a)+M-(b))%M)
#define AHEAD(a,b) (DIFF(a,b)!=0 && DIFF(a,b)<M/2)
#define NEXT(t) (((t)+1)%M)
#define LAP(p) (((p)+M-N)%M)
#define AT(d,t) ((d)*N+(t)%N)
#define MATCH(c,q) (st[c]==OFFERED && gen[c]==(q))
byte pos[NR*N]; byte rc[NR*N]; byte rg[NR*N];              /* slot: position+1, reference = chunk and generation */
byte head[NR]; byte tail[NR];                             /* hints */
byte st[NC]; byte own[NC]; byte gen[NC]; byte dest[NC]; byte data[NC];  /* chunk: word (st, own, gen), destination, message */
byte infc[NP]=NONE; byte infg[NP];                        /* in-flight word of each process */
bool crash[NP]; bool dead[NP];
byte waiting[NR]; byte lastpos[NR]; byte nextpos[NR]; bool ended[NR]; byte made;

inline raise(hint,v){ x=hint; if :: AHEAD(v,x) -> hint=v :: else -> skip fi }
inline alloc(me,c){                                       /* CAS on the first free word; the pool has a model of its own */
  d_step{ c=0; do :: c<NC && st[c]!=FREE -> c++ :: else -> break od;
          if :: c<NC -> st[c]=OWNED; own[c]=me :: else -> skip fi } }
inline free_own(me,c,s){ d_step{ assert(st[c]==s && own[c]==me); st[c]=FREE; own[c]=0 } }
/* Moves h over claimed positions, not beyond t. was_full (ghost): h was seen unclaimed at a moment when cap messages were waiting. */
inline walk_head(d,h,t){
  do
  :: AHEAD(t,h) ->
     w=pos[AT(d,h)];
     if
     :: AHEAD(w,NEXT(h)) -> h=LAP(w)
     :: w==NEXT(h) ->
        d_step{ c2=rc[AT(d,h)]; q2=rg[AT(d,h)] };
        if :: pos[AT(d,h)]!=w -> skip
           :: else -> if :: c2<NC -> d_step{ w=MATCH(c2,q2); was_full=(w && waiting[d]==CAP) } :: else -> w=(c2==CLOSED) fi;
                      if :: w -> break :: else -> h=NEXT(h) fi
        fi
     :: else -> assert(false)                             /* below an unfilled position everything is filled */
     fi
  :: else -> break
  od; skip;
  d_step{ w=0; c2=0; q2=0 };
  raise(head[d],h) }
/* Commits (i,g) to ring d; i==CLOSED is the sentinel. r: DONE at t, FULL, ENDED. */
inline insert(d,i,g){
  t=tail[d]; r=BUSY;
  do
  :: r==BUSY ->
     p=pos[AT(d,t)];
     d_step{ c=rc[AT(d,t)]; q=rg[AT(d,t)] };
     if
     :: c==CLOSED -> if :: pos[AT(d,t)]==p -> r=ENDED :: else -> skip fi      /* whatever lap it belongs to */
     :: c!=CLOSED && AHEAD(p,t) -> t=p
     :: else ->
        if :: i!=CLOSED -> h=head[d] :: else -> h=t fi;                       /* the sentinel ignores cap: N >= CAP+1 */
        if
        :: AHEAD(h,t) -> t=h                                                  /* others went on beyond t */
        :: else ->
           if :: DIFF(t,h)>=CAP -> walk_head(d,h,t) :: else -> skip fi;
           if
           :: DIFF(t,h)>=CAP -> assert(was_full); r=FULL
           :: else -> d_step{
                if :: pos[AT(d,t)]==p && rc[AT(d,t)]==c && rg[AT(d,t)]==q ->  /* commit */
                      assert(!ended[d]); assert(t==lastpos[d]); assert(c==NONE || !MATCH(c,q));
                      pos[AT(d,t)]=NEXT(t); rc[AT(d,t)]=i; rg[AT(d,t)]=g; r=DONE; lastpos[d]=NEXT(t);
                      if :: i==CLOSED -> ended[d]=true :: else -> waiting[d]++; assert(waiting[d]<=CAP) fi
                   :: else -> skip fi }
           fi
        fi
     fi
  :: else -> break
  od; skip }

proctype Prod(byte me; byte n; byte d){                   /* n messages, to ring d, d+1, ... */
  byte k,i,g,t,h,p,c,q,w,c2,q2,x,r; bool was_full;
  { do
    :: k<n ->
       alloc(me,i);
       if
       :: i==NC -> skip
       :: else ->
          d_step{ made++; data[i]=made; dest[i]=d; g=gen[i]+1 };
          d_step{ infc[me]=i; infg[me]=g };
          d_step{ assert(st[i]==OWNED && own[i]==me); st[i]=OFFERED; gen[i]=g };
          insert(d,i,g);
          if :: r==DONE -> raise(tail[d],NEXT(t))
             :: else -> d_step{ assert(st[i]==OFFERED && own[i]==me && gen[i]==g); st[i]=OWNED }; free_own(me,i,OWNED) fi
       fi;
       d_step{ k++; d=(d+1)%NR; i=0; g=0; t=0; h=0; p=0; c=0; q=0; x=0; r=0; was_full=false }
    :: else -> break
    od }
  unless { crash[me]; dead[me]=true } }

proctype Cons(byte me; byte n; byte d){
  byte k,h,p,c,q,x,r,m;
  { do
    :: k<n ->
       h=head[d]; r=BUSY;
       do
       :: r==BUSY ->
          d_step{ p=pos[AT(d,h)];
                  if :: AHEAD(p,NEXT(h)) -> h=LAP(p); p=NONE+M
                     :: p==NEXT(h) -> skip
                     :: else -> r=EMPTY; assert(waiting[d]==0) fi };
          if
          :: r==BUSY && p<M ->
             d_step{ c=rc[AT(d,h)]; q=rg[AT(d,h)] };
             if
             :: pos[AT(d,h)]!=p -> skip
             :: else ->
                if
                :: c==CLOSED -> r=ENDED; assert(waiting[d]==0)
                :: else ->
                   d_step{ if :: c<NC && MATCH(c,q) -> st[c]=CLAIMED; own[c]=me; r=DONE; m=data[c];           /* claim */
                                 assert(h==nextpos[d]); nextpos[d]=NEXT(h); waiting[d]--
                              :: else -> h=NEXT(h) fi }
                fi
             fi
          :: else -> skip
          fi
       :: else -> break
       od; skip;
       if :: r==DONE ->
             raise(head[d],NEXT(h));
             assert(data[c]==m);                          /* the message is read */
             free_own(me,c,CLAIMED)
          :: else -> skip fi;
       d_step{ k++; h=0; p=0; c=0; q=0; x=0; r=0; m=0 }
    :: else -> break
    od }
  unless { crash[me]; dead[me]=true } }

proctype Remover(byte me; byte d){
  byte t,h,p,c,q,w,c2,q2,x,r; bool was_full;
  { insert(d,CLOSED,0) } unless { crash[me]; dead[me]=true } }   /* the tail hint is left at the sentinel, never beyond */

proctype Chaos(byte v){ crash[v]=true }

proctype Reaper(byte v){ byte c,s,g,d,i; bool f;
  (dead[v]);
  do
  :: c<NC ->
     d_step{ s=(own[c]==v -> st[c] : FREE); g=gen[c] };
     if :: s==OFFERED -> d_step{ if :: infc[v]==c && infg[v]==g -> skip :: else -> s=FREE fi } :: else -> skip fi;
     if :: s==OFFERED ->
           d=dest[c]; i=0;
           do :: i<N && !f -> d_step{ f=(rc[d*N+i]==c && rg[d*N+i]==g); i++ } :: else -> break od;
           if :: f -> s=FREE :: else -> skip fi           /* committed */
        :: else -> skip fi;
     if :: s!=FREE -> d_step{ if :: st[c]==s && own[c]==v && gen[c]==g -> st[c]=FREE; own[c]=0 :: else -> skip fi } :: else -> skip fi;
     d_step{ c++; s=0; g=0; d=0; i=0; f=false }
  :: else -> break
  od }

/* At rest: every chunk free or committed; a consumer starting from the hints would get all that was committed, in order, to the end. */
proctype Monitor(){ byte c,d,h,p,i; bool f;
  timeout ->
  d_step{
   d=0; do :: d<NR ->
      h=head[d]; f=true;
      do
      :: f -> p=pos[AT(d,h)];
         if :: AHEAD(p,NEXT(h)) -> h=LAP(p)
            :: p==NEXT(h) ->
               if :: rc[AT(d,h)]==CLOSED -> assert(ended[d]); f=false
                  :: else -> c=rc[AT(d,h)];
                     if :: c<NC && MATCH(c,rg[AT(d,h)]) -> assert(h==nextpos[d]); nextpos[d]=NEXT(h); waiting[d]--; st[c]=FREE; own[c]=0 :: else -> skip fi;
                     h=NEXT(h) fi
            :: else -> assert(!ended[d]); f=false fi
      :: else -> break
      od;
      assert(waiting[d]==0); d++
   :: else -> break od;
   c=0; do :: c<NC -> assert(st[c]==FREE); c++ :: else -> break od } }

init { byte d,i;
  d_step{ d=0; do :: d<NR ->
      i=0; do :: i<N -> pos[AT(d,START+M-1-i)]=(START+M-i)%M; rc[AT(d,START+M-1-i)]=NONE; i++ :: else -> break od;
      head[d]=(START+M-LAG)%M; tail[d]=head[d]; lastpos[d]=START; nextpos[d]=START; d++ :: else -> break od; d=0; i=0 };
  atomic{ PARTIES VICTIM run Monitor() } }
