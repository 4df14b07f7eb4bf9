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

/* values of r: where a party is. SUM..LEFT is one call of wake(), after a commit or to pass a wake on; OUT is its end. */
#define TAKE 0
#define SEEN 1
#define ARM 2
#define ARM2 3
#define LOOK 4
#define SLEEP 5
#define ASLEEP 6
#define LOOK2 7
#define DISARM 8
#define LEAVE 9
#define SUM 10
#define CLEAR 11
#define BITS 12
#define TAKEBIT 13
#define RESTORE 14
#define RING 15
#define FUTEX 16
#define LEFT 17
#define OUT 18
#define WAKE \
  :: d_step{ r==SUM -> r=(summary==0 -> OUT : CLEAR); w=(summary&1 -> 0 : 1) } \
  :: d_step{ r==CLEAR -> summary=summary&(255-(1<<w)); r=BITS } \
  :: d_step{ r==BITS -> x=word[w]; r=(x==0 -> SUM : TAKEBIT) } \
  :: d_step{ r==TAKEBIT -> b=(x&1 -> 0 : 1); x=word[w]; r=((x&(1<<b))!=0 -> RESTORE : TAKEBIT); word[w]=x&(255-(1<<b)); x=word[w]; \
             b=(r==RESTORE -> w*PER+b : 0); r=(x!=0 -> r : (r==RESTORE -> RING : SUM)); w=(r==RING -> 0 : w) } \
  :: d_step{ r==RESTORE -> summary=summary|(1<<w); r=RING; x=0; w=0 } \
  :: d_step{ r==RING -> rung[b]=true; r=FUTEX } \
  :: d_step{ r==FUTEX -> r=(asleep[b] -> OUT : LEFT); asleep[b]=false; b=0 } \
  :: d_step{ r==LEFT -> r=(READY -> SUM : OUT) }          /* it woke nobody: tell the next one, while something is left */

proctype Waiter(byte me){
  byte k,w,x,b,r; bool chosen,again,quit;
  { do
    :: d_step{ r==TAKE ->                                 /* claim CAS, or EMPTY or the end was read */
         if :: avail>0 -> avail--; k++; r=LEAVE
            :: avail==0 && closed -> k=K; r=LEAVE
            :: else -> r=SEEN fi }
    :: d_step{ r==SEEN -> rung[me]=false; r=ARM }         /* seen = doorbell */
    :: d_step{ r==ARM -> word[WORD(me)]=word[WORD(me)]|BIT(me); r=ARM2 }
    :: d_step{ r==ARM2 -> summary=summary|(1<<WORD(me)); r=LOOK }
    :: d_step{ r==LOOK -> again=READY; r=(again -> DISARM : SLEEP) }
    :: d_step{ r==LOOK && me==LEAVER && !READY -> quit=true; r=DISARM }
    :: d_step{ r==SLEEP -> asleep[me]=!rung[me]; r=(rung[me] -> LOOK2 : ASLEEP) }         /* FUTEX_WAIT */
    :: d_step{ r==ASLEEP && !asleep[me] -> r=LOOK2 }
    :: d_step{ r==ASLEEP && me==LEAVER && asleep[me] -> asleep[me]=false; quit=true; r=LOOK2 }      /* timed out */
    :: d_step{ r==LOOK2 -> again=READY; r=DISARM }
    :: d_step{ r==LOOK2 && me==LEAVER -> quit=true; r=DISARM }                          /* cancelled: does not even look */
    :: d_step{ r==DISARM ->
         chosen=(chosen || (word[WORD(me)]&BIT(me))==0); word[WORD(me)]=word[WORD(me)]&(255-BIT(me));
         r=(again -> TAKE : (quit -> LEAVE : SEEN)); again=false }
    :: d_step{ r==LEAVE -> r=(chosen && READY -> SUM : OUT); chosen=false }             /* chosen by a waker, and leaves something behind */
    WAKE
    :: d_step{ r==OUT && k<K && !quit -> r=TAKE }
    :: r==OUT && (k==K || quit) -> break
    od }
  unless { crash[me]; d_step{ asleep[me]=false; dead[me]=true } } }

proctype Waker(byte me; byte n){
  byte w,x,b,r=OUT;
  { do
    :: d_step{ r==OUT && n>0 -> n--; if :: !closed -> avail++; r=SUM :: else -> skip fi }
    WAKE
    :: r==OUT && n==0 -> break
    od }
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
