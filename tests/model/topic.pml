/* Topics (shm/topic_ring.hpp, src/broker/subscription_core.cpp, shm/reaper.cpp): publishers 0 and 1, subscribers 2 and 3, a trimmer 4, reapers 5
 * and 6. `check` replaces PARTIES and VICTIM (who may die, before any step).
 *
 *   Step      one d_step = one access to shared memory plus work on private variables; `r` says which comes next.
 *   Chunk     word = state | owner | generation (st, own, gen); the message is two words (d1, d2). Slots, hazards, in-flight words and victims
 *             name a chunk and its generation. Record: owner (party + 1, 0 = nobody), one hazard, active and blocking (ctl), cursor.
 *   Ghosts    published, was (message of each position), trimmed, pin (what a subscriber reads in place): known to the assertions only.
 *   Settings  N slots (power of two), CAP capacity (of blocking topics), NC chunks, NS records, COPY (reads by copying), BLOCK (policy block).
 * A message that no subscriber of a full topic has read is given up by its publisher. Sequentially consistent. */
#ifndef N
#define N 1
#endif
#ifndef CAP
#define CAP N
#endif
#ifndef NC
#define NC 3
#endif
#ifndef NS
#define NS 1
#endif
#ifndef COPY
#define COPY 0
#endif
#ifndef BLOCK
#define BLOCK 0
#endif
#define NONE 15               /* no chunk; no cursor */
#define IS(c,s,g) (st[c]==s && gen[c]==g)
#define PINNED(c) (pin[0]==c || pin[1]==c)
mtype = { FREE, OWNED, OFFERED, RETIRED };
mtype st[NC]=FREE; byte own[NC]; byte gen[NC]; byte d1[NC]; byte d2[NC];
byte pos[N]; byte rc[N]=NONE; byte rg[N];                 /* slot: position+1 (0 = never filled), reference */
byte tail; byte head;                                     /* hints; head is the floor: positions below were trimmed */
byte infc[2]=NONE; byte infg[2]; byte vicc[2]=NONE; byte vicg[2];       /* in-flight word and victim of each publisher */
byte used; byte owner[NS]; byte hz[NS]=NONE; byte hzg[NS]; bool ctl[NS]; byte cursor[NS];
bool crash[7]; bool dead[7];
byte published; byte was[6]; byte trimmed; byte pin[2]=NONE;
/* values of r */
#define POS 0
#define REF 1
#define GATE 2
#define NOTE 3
#define CAS 4
#define AGAIN 5
#define WORD1 6
#define WORD2 7
#define NAME 8
#define CHECK 9
#define MISS 10
#define TELL 11
#define READ 12
#define UNPIN 13
#define OWNER 14
#define HAZARD 15
#define LAST 16
#define DONE 20
#define FULL 21
#define EMPTY 22

/* Makes (c,g) RETIRED. Result r: POS = this call did, and free() is to follow. */
inline retire(c,g){ d_step{ if :: IS(c,OFFERED,g) -> st[c]=RETIRED; r=POS :: else -> r=DONE fi } }

/* Frees (c,g), seen RETIRED, if no hazard names it: the hazards, then the CAS with the generation. Anybody's. */
inline free(c,g){
  do
  :: d_step{ r==POS -> u=used; k=0; r=(u==0 -> LAST : OWNER) }
  :: d_step{ r==OWNER -> if :: owner[k]==0 -> k++; r=(k<u -> OWNER : LAST) :: else -> r=HAZARD fi }
  :: d_step{ r==HAZARD -> if :: hz[k]==c && hzg[k]==g -> r=DONE :: else -> k++; r=(k<u -> OWNER : LAST) fi }
  :: d_step{ r==LAST -> if :: IS(c,RETIRED,g) -> assert(!PINNED(c)); st[c]=FREE; own[c]=0 :: else -> skip fi; r=DONE }
  :: r>=DONE -> break
  od; skip; d_step{ k=0; u=0 } }

/* What an allocation that fails does, and the next who looks: the state first. */
inline pass(){
  c=0;
  do :: c<NC -> d_step{ q=gen[c]; r=(st[c]==RETIRED -> POS : DONE) }; free(c,q); c++ :: else -> break od }

/* The lowest position that a subscriber has yet to read, in low. */
inline lowest(){
  d_step{ u=used; k=0; low=NONE };
  do
  :: k<u ->
     d_step{ f=ctl[k] };
     if :: f -> d_step{ f=(owner[k]!=0) } :: else -> skip fi;
     if :: f -> d_step{ if :: cursor[k]<low -> low=cursor[k] :: else -> skip fi } :: else -> skip fi;
     k++
  :: else -> break
  od; skip; d_step{ k=0; u=0; f=false } }

inline take(){ d_step{ i=0; do :: i<NC && st[i]!=FREE -> i++ :: else -> break od;
                       if :: i<NC -> assert(!PINNED(i)); st[i]=OWNED; own[i]=me :: else -> skip fi } }

proctype Pub(byte me; byte n){                            /* n messages */
  byte i,g,t,p,c,q,k,u,r,low; bool f;
  { do
    :: n>0 ->
       take();
       if :: i==NC -> pass(); take() :: else -> skip fi;
       if
       :: i==NC -> skip
       :: else ->
          d_step{ d1[i]=me*8+n };
          d_step{ d2[i]=me*8+n; g=gen[i]+1 };
          d_step{ infc[me]=i; infg[me]=g };
          d_step{ assert(st[i]==OWNED && own[i]==me); st[i]=OFFERED; gen[i]=g };
          d_step{ t=tail; r=POS };
          do
          :: d_step{ r==POS -> p=pos[t%N]; r=REF }
          :: d_step{ r==REF -> c=rc[t%N]; q=rg[t%N]; if :: p>t -> t=p; r=POS :: else -> r=(BLOCK -> GATE : NOTE) fi }
          :: r==GATE -> lowest(); d_step{ r=((low==NONE || t<low || t-low<CAP) -> NOTE : FULL); low=0 }
          :: d_step{ r==NOTE -> vicc[me]=c; vicg[me]=q; r=CAS }
          :: d_step{ r==CAS ->
               if :: pos[t%N]==p && rc[t%N]==c && rg[t%N]==q ->           /* commit */
                     assert(t==published); published++; was[t]=me*8+n; pos[t%N]=t+1; rc[t%N]=i; rg[t%N]=g; r=DONE
                  :: else -> r=POS fi }
          :: r>=DONE -> break
          od;
          if
          :: r==DONE ->
             d_step{ t++; p=tail }; if :: p<t -> tail=t :: else -> skip fi;
             if :: c!=NONE -> retire(c,q); free(c,q) :: else -> skip fi
          :: else ->
             d_step{ assert(IS(i,OFFERED,g)); st[i]=OWNED };
             d_step{ assert(IS(i,OWNED,g)); st[i]=FREE; own[i]=0 }
          fi
       fi;
       d_step{ n--; i=0; g=0; t=0; p=0; c=0; q=0; r=0 }
    :: else -> break
    od }
  unless { crash[me]; dead[me]=true } }

proctype Sub(byte me; byte n){                            /* joins, looks n times, leaves */
  byte k,t,p,c,q,a,b,r,first,got,lost,gc=NONE,gg; bool f;
  { do
    :: k<NS ->
       d_step{ f=(owner[k]==0) };
       if
       :: f ->
          d_step{ if :: used<k+1 -> used=k+1 :: else -> skip fi };
          d_step{ f=(owner[k]==0); if :: f -> owner[k]=me+1; first=published :: else -> skip fi }
       :: else -> skip
       fi;
       if :: f -> break :: else -> k++ fi
    :: else -> break
    od;
    if
    :: k==NS -> skip                                      /* all are taken */
    :: else ->
       hz[k]=NONE;                                        /* what a dead owner left */
       t=tail;
       cursor[k]=t;
       ctl[k]=true;
       d_step{ r=POS };
       do :: d_step{ r==POS -> p=pos[t%N]; if :: p>t -> t=p :: else -> r=DONE fi } :: r==DONE -> break od; skip;
       d_step{ assert(t>=first && t<=published); cursor[k]=t; first=t };
       do
       :: n>0 ->
          d_step{ r=POS };
          do
          :: d_step{ r==POS -> p=pos[t%N];
               if :: p<t+1 -> r=EMPTY
                  :: p==t+1 -> r=REF
                  :: else -> lost=lost+(p-N-t); t=p-N; assert(!BLOCK) fi }           /* overtaken */
          :: d_step{ r==REF -> c=rc[t%N]; q=rg[t%N]; r=AGAIN }
          :: d_step{ r==AGAIN ->
               if :: pos[t%N]!=p -> r=POS
                  :: pos[t%N]==p && c==gc && q==gg -> assert(t<trimmed && !BLOCK); lost++; t++; r=POS
                  :: else -> r=(COPY -> WORD1 : NAME) fi }
          :: d_step{ r==WORD1 -> a=d1[c]; r=WORD2 }
          :: d_step{ r==WORD2 -> b=d2[c]; r=CHECK }
          :: d_step{ r==NAME -> hz[k]=c; hzg[k]=q; r=CHECK }
          :: d_step{ r==CHECK ->
               if :: IS(c,OFFERED,q) -> if :: COPY -> assert(a==was[t] && b==was[t]) :: else -> pin[me-2]=c fi; t++; got++; r=TELL
                  :: else -> gc=c; gg=q; r=(COPY -> POS : MISS) fi; a=0; b=0 }
          :: d_step{ r==MISS -> hz[k]=NONE; r=POS }
          :: d_step{ r==TELL -> cursor[k]=t; r=(COPY -> DONE : READ) }
          :: d_step{ r==READ -> assert(d1[c]==was[t-1] && d2[c]==was[t-1]); pin[me-2]=NONE; r=UNPIN }
          :: d_step{ r==UNPIN -> hz[k]=NONE; r=DONE }
          :: r>=DONE -> break
          od; skip;
          d_step{ n--; p=0; c=0; q=0; r=0; gc=NONE; gg=0; assert(t==first+got+lost) }
       :: else -> break
       od;
       hz[k]=NONE;
       ctl[k]=false;
       owner[k]=0
    fi }
  unless { crash[me]; d_step{ dead[me]=true; pin[me-2]=NONE } } }

/* Trims what all subscribers have read (the rest, too, if `all`: a byte budget). */
proctype Trim(byte me; bool all){
  byte t,p,c,q,k,u,r,low,end; bool f;
  { d_step{ end=tail; r=POS };
    do :: d_step{ r==POS -> p=pos[end%N]; if :: p>end -> end=p :: else -> r=DONE fi } :: r==DONE -> break od;
    if :: !all -> lowest(); d_step{ end=(low<end -> low : end); low=0 } :: else -> skip fi;
    t=head;
    if :: end>N && t<end-N -> t=end-N :: else -> skip fi;
    do
    :: t<end ->
       d_step{ p=pos[t%N] };
       d_step{ c=rc[t%N]; q=rg[t%N] };
       d_step{ r=((p==t+1 && pos[t%N]==p) -> POS : DONE) };
       if :: r==POS -> d_step{ trimmed=(t>=trimmed -> t+1 : trimmed) }; retire(c,q); free(c,q) :: else -> skip fi;
       t++
    :: else -> break
    od; skip;
    d_step{ p=head }; if :: p<end -> head=end :: else -> skip fi }
  unless { crash[me]; dead[me]=true } }

proctype Chaos(byte v){ crash[v]=true }

inline holds(c,q){ d_step{ k=0; f=false }; do :: k<N && !f -> d_step{ f=(pos[k]!=0 && rc[k]==c && rg[k]==q); k++ } :: else -> break od }

/* Reaps party v; stops before the chunks if not `all`. */
proctype Reaper(byte me; byte v; bool all){
  byte k,u,c,q,i,g,ic,ig,r; bool f; mtype s;
  (dead[v]);
  { d_step{ u=used };
    do
    :: k<u -> d_step{ f=(owner[k]==v+1) };
              if :: f -> d_step{ if :: owner[k]==v+1 -> owner[k]=0 :: else -> skip fi } :: else -> skip fi;
              k++
    :: else -> break
    od;
    if
    :: v<2 ->
       d_step{ ic=infc[v]; ig=infg[v]; c=vicc[v]; q=vicg[v]; k=0; u=0 };           /* the dead's: nobody changes them */
       if :: c!=NONE -> holds(c,q); if :: !f -> retire(c,q) :: else -> skip fi :: else -> skip fi
    :: else -> skip
    fi;
    do
    :: all && i<NC ->
       d_step{ s=st[i]; g=gen[i]; if :: s!=RETIRED && own[i]!=v -> s=FREE :: else -> skip fi };
       if
       :: s==RETIRED -> r=POS; free(i,g); i++
       :: s==OWNED -> d_step{ if :: IS(i,OWNED,g) && own[i]==v -> st[i]=FREE; own[i]=0 :: else -> skip fi }
       :: s==OFFERED && ic==i && ig==g && v<2 -> holds(i,g); if :: f -> i++ :: else -> retire(i,g) fi
       :: else -> i++
       fi;
       d_step{ k=0; f=false; r=0; g=0; s=FREE }
    :: else -> break
    od }
  unless { crash[me]; dead[me]=true } }

/* At rest, after a last pass: every chunk is free, or published, in the ring, and not trimmed. */
proctype Monitor(){ byte c,i; bool f;
  timeout ->
  d_step{
   assert(tail<=published && head<=published);
   i=0; do :: i<NS -> assert(owner[i]==0); i++ :: else -> break od;
   do :: c<NC ->
      if :: st[c]==RETIRED -> st[c]=FREE :: else -> skip fi;
      f=false; i=0; do :: i<N -> f=(f || (pos[i]>trimmed && rc[i]==c && rg[i]==gen[c])); i++ :: else -> break od;
      assert(st[c]==(f -> OFFERED : FREE)); c++
   :: else -> break od } }

init { atomic{ PARTIES VICTIM run Monitor() } }
