/* Waiting (shm/doorbell.hpp, src/broker/waiter.hpp): one doorbell per thread, two-level waiter bitmaps, without the 1 s bound of a sleep.
 *
 *   Parties    waiters 0..NW-1, wakers NW and NW+1, a remover NW+2 (if CLOSES). The ring is a counter of available messages. Producers that
 *              wait for room are the same with the roles exchanged. `check` replaces VICTIM: one party may die before any step (then the
 *              reaper runs) or stop for good (nobody reaps). LEAVER may time out or be cancelled at any look.
 *   Step       one statement or d_step = one atomic access plus private work.
 *   Doorbell   is read by its owner only and only compared with `seen`, so one bit stands for it: rung since the owner's last read.
 *   Settings   NW waiters, PER waiters per bitmap word (at most 2 words of 2), K takes per waiter, M0 M1 messages per waker, LEAVER, CLOSES.
 * Sequentially consistent: memory orders need other means. */
#ifndef NW
#define NW 2
#endif
#ifndef PER
#define PER 2
#endif
#ifndef K
#define K 1
#endif
#ifndef M0
#define M0 1
#endif
#ifndef M1
#define M1 1
#endif
#ifndef LEAVER
#define LEAVER 99
#endif
#ifndef CLOSES
#define CLOSES 0
#endif
#define NP (NW+3)
#define NWORD ((NW+PER-1)/PER)
#define WORD(w) ((w)/PER)
#define BIT(w) (1<<((w)%PER))
#define READY (avail>0 || closed)                                  /* Ring::readable: a message or the end */
byte avail;                                  /* committed and unclaimed messages */
bool closed;                                 /* the close sentinel is committed */
byte word[NWORD]; byte summary;
bool rung[NW]; bool asleep[NW];
bool crash[NP]; bool dead[NP];

inline take(){ d_step{ ok=(avail>0); if :: ok -> avail-- :: else -> over=closed fi } }            /* claim CAS, or EMPTY or END read */

inline wake(){                               /* after a commit, and to pass a wake on */
  do
  :: true ->
     d_step{ s=summary; w=(s&1 -> 0 : 1) };
     if :: s==0 -> break :: else -> skip fi;
     d_step{ summary=summary&(255-(1<<w)); s=0 };
     d_step{ x=word[w]; got=false };
     do
     :: !got && x!=0 -> d_step{ b=(x&1 -> 0 : 1); x=word[w]; got=((x&(1<<b))!=0); x=x&(255-(1<<b)); word[w]=x }     /* fetch_and */
     :: else -> break
     od;
     if :: x!=0 -> summary=summary|(1<<w) :: else -> skip fi;
     if :: got -> d_step{ b=w*PER+b; x=0; w=0; rung[b]=true };
           d_step{ got=asleep[b]; asleep[b]=false; b=0 };                                         /* FUTEX_WAKE 1 */
           if :: got -> break
              :: !got && !READY -> break     /* nothing left to tell */
              :: else -> skip fi
     :: else -> skip fi
  od; skip;
  d_step{ s=0; w=0; x=0; b=0; got=false } }

proctype Waiter(byte me){
  byte k,s,w,x,b; bool ok,over,got,chosen,again,quit;
  { do
    :: k<K && !over && !quit ->
       take();
       if
       :: ok || over -> skip
       :: else ->
          do
          :: true ->
             rung[me]=false;                                        /* seen = doorbell */
             word[WORD(me)]=word[WORD(me)]|BIT(me);
             summary=summary|(1<<WORD(me));
             again=READY;                                           /* look again */
             if :: me==LEAVER && !again -> quit=true :: true fi;
             if
             :: !again && !quit ->
                d_step{ if :: !rung[me] -> asleep[me]=true :: else -> skip fi };                  /* FUTEX_WAIT */
                if :: !asleep[me] -> skip
                   :: me==LEAVER && asleep[me] -> asleep[me]=false; quit=true                     /* timed out */
                fi;
                again=READY
             :: else -> skip
             fi;
             d_step{ chosen=(chosen || (word[WORD(me)]&BIT(me))==0); word[WORD(me)]=word[WORD(me)]&(255-BIT(me)) };     /* disarm */
             if :: again || quit -> break :: else -> skip fi
          od; skip;
          again=false;
          if :: !quit -> take() :: else -> skip fi
       fi;
       if :: (ok || over || quit) && chosen && READY -> wake() :: else -> skip fi;                /* chosen by a waker, and leaves something behind */
       d_step{ if :: ok -> k++; chosen=false :: else -> skip fi; ok=false }
    :: else -> break
    od }
  unless { crash[me]; d_step{ asleep[me]=false; dead[me]=true } } }

proctype Waker(byte me; byte n){
  byte s,w,x,b; bool got;
  { do :: n>0 -> d_step{ if :: !closed -> avail++ :: else -> skip fi }; wake(); n-- :: else -> break od }
  unless { crash[me]; dead[me]=true } }

proctype Remover(byte me){
  byte w,x,b;
  { closed=true;
    do
    :: w<NWORD ->
       x=word[w];
       do
       :: x!=0 -> d_step{ b=(x&1 -> 0 : 1); x=x&(255-(1<<b)); b=w*PER+b; rung[b]=true }; asleep[b]=false      /* the bits stay */
       :: else -> break
       od; w++
    :: else -> break
    od }
  unless { crash[me]; dead[me]=true } }

proctype Chaos(byte v){ crash[v]=true }

/* After a death: rings every live thread, whatever its bit says (a dead waker may have taken the bit and not rung). */
proctype Reaper(byte v){ byte i;
  (dead[v]);
  do :: i<NWORD -> if :: word[i]!=0 -> summary=summary|(1<<i) :: else -> skip fi; i++ :: else -> break od;
  i=0;
  do :: i<NW -> rung[i]=true; asleep[i]=false; i++ :: else -> break od }

proctype Monitor(){ byte i;
  timeout ->                                  /* quiescent: nobody else can take a step */
  d_step{ do :: i<NW -> assert(!(READY && asleep[i])); i++ :: else -> break od } }

init { byte i;
  atomic{ do :: i<NW -> run Waiter(i); i++ :: else -> break od;
    run Waker(NW,M0); run Waker(NW+1,M1); if :: CLOSES -> run Remover(NW+2) :: else -> skip fi;
    VICTIM run Monitor() } }
