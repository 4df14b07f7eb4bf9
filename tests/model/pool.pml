/* The pool (shm/chunk_pool.hpp): allocators 0 and 1, reapers 2 and 3 of VICTIM, which `check` replaces; at rest a last allocator.
 *
 *   Step       one d_step = one access to shared memory plus work on private variables; `r` says which comes next.
 *   Shape      NC chunks, two to a slab. A chunk's word (st, own) is the only truth, a slab's hint may be wrong either way.
 *   Ghosts     holder: who believes to own the chunk; looked: chunks that the last look of an allocation found taken.
 *   Settings   NC, HINT (first value of the hints), EXACT (also claim that hints are right at rest; without deaths only). */
#ifndef NC
#define NC 3
#endif
#ifndef HINT
#define HINT 0                /* as in new memory: all bytes 0, and all chunks free */
#endif
#ifndef EXACT
#define EXACT 0
#endif
#define NS ((NC+1)/2)
#define SLAB(c) ((c)/2)
#define END(s) ((s)*2+2<NC -> (s)*2+2 : NC)
#define NONE 9
mtype = { FREE, OWNED };
mtype st[NC]=FREE; byte own[NC]=NONE; bool hint[NS]=HINT;
bool crash[4]; bool dead[4];
byte holder[NC]=NONE;
/* values of r */
#define SLABHINT 0            /* look at the slab's hint */
#define LOOK 1                /* load a word */
#define CAS 2
#define CLEAR 3               /* nothing found: hint = 0, then look once more */
#define RESTORE 4             /* found by that second look: hint = 1 */
#define NEXTSLAB 5
#define FOUND 6
#define NOMEMORY 7

/* One allocation: all slabs from slab `from` on by their hints, then (full) all words once, whatever the hints say. */
inline allocate(me,c,from){
  d_step{ s=from; left=NS; full_look=false; second=false; looked=0; c=0; r=SLABHINT };
  do
  :: d_step{ r==SLABHINT -> c=s*2; r=((full_look || hint[s]) -> LOOK : NEXTSLAB) }
  :: d_step{ r==LOOK ->
       if :: st[c]==FREE -> r=CAS
          :: else -> looked=looked|(1<<c); c++; if :: c==END(s) -> r=(second -> NEXTSLAB : CLEAR) :: else -> skip fi fi }
  :: d_step{ r==CAS ->
       if :: st[c]==FREE -> st[c]=OWNED; own[c]=me; assert(holder[c]==NONE); holder[c]=me; r=(second -> RESTORE : FOUND)
          :: else -> looked=looked|(1<<c); c++; r=LOOK; if :: c==END(s) -> r=(second -> NEXTSLAB : CLEAR) :: else -> skip fi fi }
  :: d_step{ r==CLEAR -> hint[s]=false; second=true; c=s*2; r=LOOK }
  :: d_step{ r==RESTORE -> hint[s]=true; r=FOUND }
  :: d_step{ r==NEXTSLAB -> second=false; left--; s=(s+1)%NS; r=SLABHINT;
       if :: left==0 && full_look -> r=NOMEMORY; assert(looked==(1<<NC)-1)
          :: left==0 && !full_look -> full_look=true; left=NS; looked=0
          :: else -> skip fi }
  :: r>=FOUND -> break
  od; skip;
  d_step{ s=0; left=0; full_look=false; second=false; looked=0 } }

inline mark(c){ d_step{ up=hint[SLAB(c)] }; if :: !up -> hint[SLAB(c)]=true :: else -> skip fi; up=false }
inline release(me,c){
  d_step{ assert(holder[c]==me && st[c]==OWNED && own[c]==me); holder[c]=NONE; st[c]=FREE; own[c]=NONE };      /* store */
  mark(c) }

proctype User(byte me; byte n; bool two){                 /* n rounds of one allocation, or of two at once */
  byte c,c2,s,left,looked,r; bool full_look,second,up;
  { do
    :: n>0 ->
       allocate(me,c,me%NS);
       if
       :: r==FOUND ->
          if :: two -> allocate(me,c2,me%NS); if :: r==FOUND -> release(me,c2) :: else -> skip fi; c2=0 :: else -> skip fi;
          release(me,c)
       :: else -> skip
       fi;
       d_step{ n--; c=0; r=0 }
    :: else -> break
    od }
  unless { crash[me]; dead[me]=true } }

proctype Chaos(byte v){ crash[v]=true }

proctype Reaper(byte v; byte me){ byte c; bool up;
  { (dead[v]);
    do
    :: c<NC ->
       if
       :: st[c]==OWNED && own[c]==v ->
          d_step{ up=(st[c]==OWNED && own[c]==v); if :: up -> st[c]=FREE; own[c]=NONE; holder[c]=NONE :: else -> skip fi };     /* CAS */
          if :: up -> mark(c) :: else -> skip fi
       :: else -> skip
       fi;
       c++
    :: else -> break
    od }
  unless { crash[me] } }

proctype Last(){
  byte k,c,s,left,looked,r; bool full_look,second;
  timeout ->
  d_step{ c=0; do :: c<NC -> assert(st[c]==FREE); assert(!EXACT || hint[SLAB(c)]); c++ :: else -> break od };
  do :: k<NC -> allocate(0,c,0); assert(r==FOUND); d_step{ k++; c=0; r=0 } :: else -> break od }

init { atomic{ run User(0,U0,T0); run User(1,U1,T1); VICTIM run Last() } }
