/* Recycling a removed queue (shm/directory.hpp, shm/directory_recycle.cpp, shm/reaper.cpp). Users 0 and 1 open, offer, poll and close;
 * removers and recyclers are 2 and 3; VICTIM, which `check` replaces, tells who may die before any step and who is reaped.
 *
 *   Step       one d_step = one access to shared memory plus work on private variables.
 *   Entry      word (est, eg) = state | generation; one attached bit per user; changed under a lock that the kernel frees at a death.
 *              busy, found at true by the next holder, tells that a holder died.
 *   Ring       in[c]: some position holds chunk c with generation rg[c]; `sentinel`: it is closed. mem (ghost): whose memory it is now.
 *   Ghosts     mem; com[c]: committed and neither claimed nor drained; drained by a recycler only. */
#define NC 2
#define NONE 9
mtype = { FREE, OWNED, OFFERED, CLAIMED, CREATING, LIVE, CLOSED, RECYCLING };
mtype est=LIVE; byte eg=1; bool attached[2]; byte lock=NONE; bool busy;
bool in[NC]; byte rg[NC]; bool sentinel; byte mem=1;
mtype st[NC]=FREE; byte own[NC]; byte gen[NC]; byte dest[NC];
byte infc[2]=NONE; byte infg[2];
bool crash[6]; bool dead[6]; bool com[NC];

inline claim(me,c,ok){
  d_step{ ok=(in[c] && st[c]==OFFERED && gen[c]==rg[c]); if :: ok -> st[c]=CLAIMED; own[c]=me; com[c]=false :: else -> skip fi } }
inline free_own(me,c){ d_step{ assert((st[c]==OWNED || st[c]==CLAIMED) && own[c]==me); st[c]=FREE; own[c]=NONE } }

proctype User(byte me; byte offers; byte polls){
  byte c,g,f; bool ok;
  { d_step{ f=eg; ok=(est==LIVE) };                       /* found under its name */
    if
    :: ok ->
       attached[me]=true;
       ok=(eg==f && (est==LIVE || est==CLOSED));          /* RECHECK */
       if
       :: ok ->
          do
          :: offers>0 ->
             d_step{ c=0; do :: c<NC && st[c]!=FREE -> c++ :: else -> break od;
                     if :: c<NC -> st[c]=OWNED; own[c]=me; dest[c]=f; g=gen[c]+1 :: else -> skip fi };
             if
             :: c<NC ->
                d_step{ infc[me]=c; infg[me]=g };
                d_step{ st[c]=OFFERED; gen[c]=g };
                d_step{ assert(mem==f); ok=!sentinel; if :: ok -> in[c]=true; rg[c]=g; com[c]=true :: else -> skip fi };       /* commit */
                if :: !ok -> d_step{ assert(st[c]==OFFERED && own[c]==me && gen[c]==g); st[c]=OWNED }; free_own(me,c) :: else -> skip fi
             :: else -> skip
             fi;
             offers--
          :: offers==0 && polls>0 ->
             d_step{ assert(mem==f); c=0; do :: c<NC && !(in[c] && st[c]==OFFERED && gen[c]==rg[c]) -> c++ :: else -> break od };
             if :: c<NC -> claim(me,c,ok); if :: ok -> free_own(me,c) :: else -> skip fi :: else -> skip fi;
             polls--
          :: offers==0 && polls==0 -> break
          od
       :: else -> skip
       fi;
       attached[me]=false
    :: else -> skip
    fi }
  unless { crash[me]; dead[me]=true } }

/* One CLOSED (or, by mend, RECYCLING) entry; the lock is held. */
inline recycle_entry(me){
  est=RECYCLING;
  c=0; ok=true;
  do :: c<2 && ok -> d_step{ ok=!attached[c]; c++ } :: else -> break od;
  if
  :: !ok -> est=CLOSED                                    /* somebody uses it: later */
  :: else ->
     c=0;
     do :: c<NC -> claim(me,c,ok); if :: ok -> free_own(me,c) :: else -> skip fi; c++ :: else -> break od;
     skip; d_step{ est=FREE; mem=0 }
  fi }

/* Whoever takes the directory lock: mends what a dead holder left, then removes (and closes) or recycles and creates anew. */
proctype Holder(byte me; bool removes){
  byte c; bool ok;
  { d_step{ lock==NONE -> lock=me };
    ok=busy;
    if :: ok -> if :: est==CREATING -> est=FREE :: est==CLOSED -> sentinel=true :: est==RECYCLING -> recycle_entry(me) :: else -> skip fi
       :: else -> skip fi;
    busy=true;
    if
    :: removes -> if :: est==LIVE -> est=CLOSED; sentinel=true :: else -> skip fi
    :: else ->
       if :: est==CLOSED -> recycle_entry(me) :: else -> skip fi;
       if
       :: est==FREE ->
          d_step{ est=CREATING; eg++ };
          d_step{ c=0; do :: c<NC -> in[c]=false; rg[c]=0; c++ :: else -> break od; sentinel=false; mem=eg };
          est=LIVE
       :: else -> skip
       fi
    fi;
    busy=false;
    lock=NONE }
  unless { crash[me]; d_step{ lock=(lock==me -> NONE : lock); dead[me]=true } } }

proctype Chaos(byte v){ crash[v]=true }

proctype Reaper(byte v){
  byte c,g,i,ig; bool f; mtype s,x;
  (dead[v]);
  if :: v<2 -> d_step{ i=infc[v]; ig=infg[v] } :: else -> i=NONE fi;
  /* BITFIRST */
  do
  :: c<NC ->
     d_step{ s=(own[c]==v -> st[c] : FREE); g=gen[c]; if :: s==OFFERED && !(i==c && ig==g) -> s=FREE :: else -> skip fi };
     if
     :: s==OFFERED ->
        d_step{ x=est; f=(eg==dest[c]) };
        if
        :: f && (x==LIVE || x==CLOSED || x==RECYCLING) ->          /* committed? Other than by its generation, the entry does not matter */
           if :: d_step{ mem==dest[c] -> f=(in[c] && rg[c]==g) }
              :: mem!=dest[c] -> if :: f=true :: f=false fi        /* memory of something else now: it may hold anything */
           fi
        :: else -> f=false
        fi;
        if :: f -> s=FREE :: else -> skip fi
     :: else -> skip
     fi;
     if :: s!=FREE -> d_step{ if :: st[c]==s && own[c]==v && gen[c]==g -> assert(!com[c]); st[c]=FREE; own[c]=NONE :: else -> skip fi } :: else -> skip fi;
     skip; d_step{ c++; s=FREE; g=0; f=false; x=FREE }
  :: else -> break
  od;
  if :: v<2 -> attached[v]=false :: else -> skip fi }

/* At rest: a chunk is free, or waits in a ring that exists; and the next holder finds nothing that it cannot finish. */
proctype Monitor(){ byte c;
  timeout -> assert(est!=CLOSED || busy || sentinel); run Holder(5,0);     /* removed: nothing more is accepted */
  timeout ->
  d_step{
   assert(lock==NONE); assert(!attached[0] && !attached[1]); assert(est==LIVE);
   do :: c<NC -> assert(st[c]==FREE || (st[c]==OFFERED && com[c] && in[c] && rg[c]==gen[c] && dest[c]==eg && mem==eg)); c++ :: else -> break od } }

init { atomic{ PARTIES VICTIM run Monitor() } }
