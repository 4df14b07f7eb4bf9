/* Waking everybody (shm/doorbell.hpp wake_each): each waiter reads every message, without the 1 s bound of a sleep.
 *
 *   Parties    waiters 0..NW-1, wakers NW and NW+1. A message is a number: `sent` counts them, `read[i]` is how far waiter i is.
 *              `check` replaces VICTIM: one party may die before any step (then the reaper runs) or stop for good (nobody reaps).
 *   Step       one statement or d_step = one atomic access plus private work.
 *   Doorbell   is read by its owner only and only compared with `seen`, so one bit stands for it: rung since the owner's last read.
 *   Settings   NW waiters, PER waiters per bitmap word (at most 2 words of 2), M0 M1 messages per waker.
 * Sequentially consistent: memory orders need other means. */
#ifndef NW
#define NW 2
#endif
#ifndef PER
#define PER 2
#endif
#ifndef M0
#define M0 1
#endif
#ifndef M1
#define M1 1
#endif
#define NP (NW+2)
#define NWORD ((NW+PER-1)/PER)
#define WORD(w) ((w)/PER)
#define BIT(w) (1<<((w)%PER))
#define READY (read[me]<sent)
byte sent; byte read[NW];
byte word[NWORD]; byte summary;
bool rung[NW]; bool asleep[NW];
bool crash[NP]; bool dead[NP];

#define TAKE 0
#define SEEN 1
#define ARM 2
#define ARM2 3
#define LOOK 4
#define SLEEP 5
#define ASLEEP 6
#define DISARM 7
#define COMMIT 8
#define SUM 9
#define CLEAR 10
#define BITS 11
#define TAKEBIT 12
#define RING 13
#define FUTEX 14
#define OUT 15

proctype Waiter(byte me){
  byte r;
  { do
    :: d_step{ r==TAKE && READY -> read[me]=sent }
    :: d_step{ r==TAKE && !READY -> r=(sent==M0+M1 -> OUT : SEEN) }
    :: d_step{ r==SEEN -> rung[me]=false; r=ARM }         /* seen = doorbell */
    :: d_step{ r==ARM -> word[WORD(me)]=word[WORD(me)]|BIT(me); r=ARM2 }
    :: d_step{ r==ARM2 -> summary=summary|(1<<WORD(me)); r=LOOK }
    :: d_step{ r==LOOK -> r=(READY -> DISARM : SLEEP) }
    :: d_step{ r==SLEEP -> asleep[me]=!rung[me]; r=(rung[me] -> DISARM : ASLEEP) }        /* FUTEX_WAIT */
    :: d_step{ r==ASLEEP && !asleep[me] -> r=DISARM }
    :: d_step{ r==DISARM -> word[WORD(me)]=word[WORD(me)]&(255-BIT(me)); r=TAKE }
    :: r==OUT -> break
    od }
  unless { crash[me]; d_step{ asleep[me]=false; dead[me]=true } } }

proctype Waker(byte me; byte n){
  byte g,w,x,b,r=OUT; bool mine;                          /* g: the groups that the summary named */
  { do
    :: d_step{ r==OUT && n>0 -> n--; r=COMMIT }
    :: d_step{ r==COMMIT -> sent++; r=SUM }
    :: d_step{ r==SUM -> g=summary; r=(g==0 -> OUT : CLEAR); w=(g&1 -> 0 : 1) }
    :: d_step{ r==CLEAR -> summary=summary&(255-(1<<w)); g=g&(255-(1<<w)); r=BITS }
    :: d_step{ r==BITS -> x=word[w]; r=TAKEBIT }
    :: d_step{ r==TAKEBIT && x!=0 -> b=(x&1 -> 0 : 1); x=x&(255-(1<<b)); mine=(word[w]&(1<<b))!=0; word[w]=word[w]&(255-(1<<b)); b=w*PER+b; \
               r=(mine -> RING : TAKEBIT); mine=false }
    :: d_step{ r==TAKEBIT && x==0 -> r=(g==0 -> OUT : CLEAR); w=(g&1 -> 0 : 1); b=0 }
    :: d_step{ r==RING -> rung[b]=true; r=FUTEX }
    :: d_step{ r==FUTEX -> asleep[b]=false; r=TAKEBIT }
    :: r==OUT && n==0 -> break
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
  d_step{ do :: i<NW -> assert(!(read[i]<sent && asleep[i])); i++ :: else -> break od } }

init { byte i;
  atomic{ do :: i<NW -> run Waiter(i); i++ :: else -> break od;
    run Waker(NW,M0); run Waker(NW+1,M1);
    VICTIM run Monitor() } }
