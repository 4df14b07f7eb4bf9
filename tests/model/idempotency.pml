/* Beginning a request in the idempotency store (shm/idempotency.cpp, confirm). Parties 1 and 2 (and 3: THIRD) send a request of the same key at once; each
 * looks, proposes, looks again and confirms. Party 1 may die at any step (DIES), helpers 4 and 5 reap it, of which 4 may stop for good (STOPS).
 *
 *   Step      one d_step = one access to shared memory plus work on private variables.
 *   Place     word = state | owner | generation (st, ow, gn); N places that the key may have. The key is written between WRITING and PROPOSED.
 *   Ghosts    running = who has it RUNNING and lives; begun = times it was begun; ended = DONE was said; lost = times
 *             a handler said that nothing happened. */
#ifndef DIES
#define DIES 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef THIRD
#define THIRD false
#endif
#ifndef BOTH
#define BOTH false         /* both helpers at once, not one behind the other */
#endif
#ifndef RERUNS
#define RERUNS false        /* what is uncertain runs again */
#endif
#define LOOKSBEHIND true    /* behind its proposal it looks at all places */
#define LOOKSAGAIN true     /* a place that changed under the look is looked at again */
#define TAKENBACKBYCAS true /* another proposal is taken back by a CAS, not by a store */
#define CONFIRMSBYCAS true
#define UNCERTAINSTAYS true /* a reaper keeps what the dead ran */
#ifndef N
#define N 3
#endif
mtype = { FREE, WRITING, PROPOSED, RUNNING, DONE, UNCERTAIN };
mtype st[N]=FREE; byte ow[N]; byte gn[N];
byte running; byte begun; bool ended; bool dead; bool stop; byte reaped; byte left; byte lost;

/* The furthest that is there, besides `mine`; a free place. */
inline search(mine){
  d_step{ i=0; sp=N; fr=N; ss=FREE };
  do
  :: i<N -> d_step{ ls=st[i]; lo=ow[i]; lg=gn[i] };
     if
     :: ls==FREE -> fr=i; i++
     :: i==mine || ls==WRITING -> i++
     :: else ->                                        /* its key; then the word again */
        d_step{
          if
          :: st[i]==ls && ow[i]==lo && gn[i]==lg ->
             if :: sp==N || ss==PROPOSED -> sp=i; ss=ls; sg=lg; so=lo :: else -> skip fi; i++
          :: else -> if :: LOOKSAGAIN -> skip :: else -> i++ fi
          fi }
     fi
  :: else -> break
  od; i=0 }

inline change(p,fs,fo,fg,ts,to){ d_step{ if :: st[p]==fs && ow[p]==fo && gn[p]==fg -> st[p]=ts; ow[p]=to; ok=true :: else -> ok=false fi } }

inline runs(p,m){
  d_step{ running++; begun++; assert(running==1); assert(!ended); assert(RERUNS || begun==1+lost) };
  if
  :: d_step{ st[p]=DONE; ow[p]=0; ended=true; running-- }
  :: d_step{ st[p]=FREE; ow[p]=0; lost++; running-- }       /* its handler says that nothing happened */
  fi }

proctype Party(byte me){ byte i,sp,fr,sg,so,pl,ge,tries,lo,lg; mtype ss,ls; bool ok;
  { do
    :: tries==2 || (tries==1 && DIES && me==1) -> break    /* the one who may die has one */
    :: else ->
       tries++;
       search(N);
       if
       :: sp!=N && ss==UNCERTAIN && RERUNS ->
          change(sp,UNCERTAIN,so,sg,RUNNING,me);
          if :: ok -> pl=sp; runs(pl,me); break :: else -> skip fi
       :: sp!=N && ss!=PROPOSED && !(ss==UNCERTAIN && RERUNS) -> break
       :: (sp==N || ss==PROPOSED) && fr==N -> break
       :: (sp==N || ss==PROPOSED) && fr!=N ->
          d_step{ pl=fr; if :: st[pl]==FREE -> gn[pl]++; ge=gn[pl]; st[pl]=WRITING; ow[pl]=me; ok=true :: else -> ok=false fi };
          if
          :: !ok -> skip
          :: ok ->
             d_step{ st[pl]=PROPOSED };
             do
             :: if :: LOOKSBEHIND -> search(pl) :: else -> sp=N fi;
                if
                :: sp==N ->
                   if :: CONFIRMSBYCAS -> change(pl,PROPOSED,me,ge,RUNNING,me) :: else -> d_step{ st[pl]=RUNNING; ow[pl]=me; ok=true } fi;
                   if :: ok -> runs(pl,me); tries=2 :: else -> skip fi;
                   break
                :: sp!=N && ss!=PROPOSED -> change(pl,PROPOSED,me,ge,FREE,0); break
                :: sp!=N && ss==PROPOSED ->
                   if
                   :: sp<pl -> skip                    /* the lower place goes first: look again */
                   :: true ->
                      if :: TAKENBACKBYCAS -> change(sp,PROPOSED,so,sg,FREE,0) :: else -> d_step{ st[sp]=FREE; ow[sp]=0 } fi
                   fi
                fi
             od
          fi
       fi
    od } unless { dead && me==1; skip };
  left++ }

proctype Reaper(byte me){ byte i,sg; mtype ss,ts; bool ok;
  dead && (me==4 || BOTH || reaped==1 || stop);
  { do
    :: i<N ->
       d_step{ ss=st[i]; sg=gn[i]; ok=(ow[i]==1) };
       if
       :: !ok || ss==FREE || ss==DONE || ss==UNCERTAIN -> i++
       :: else ->
          ts=FREE;
          if :: ss==RUNNING && UNCERTAINSTAYS -> ts=UNCERTAIN :: else -> skip fi;
          d_step{ if :: st[i]==ss && ow[i]==1 && gn[i]==sg ->
                        st[i]=ts; ow[i]=0; if :: ss==RUNNING && running>0 -> running-- :: else -> skip fi
                     :: else -> skip fi }
       fi
    :: else -> break
    od } unless { stop && me==4; skip };
  reaped++; left++ }

proctype Chaos(){ if :: DIES && left==0 -> dead=true :: else -> skip fi; if :: STOPS -> stop=true :: else -> skip fi }

proctype Monitor(){ byte i,further;
  timeout;
  assert(!dead || reaped==2);
  d_step{ i=0; do :: i<N -> assert(st[i]!=WRITING && st[i]!=PROPOSED && st[i]!=RUNNING);
                            if :: st[i]!=FREE -> further++ :: else -> skip fi; i++ :: else -> break od };
  assert(further<=1) }

init { atomic{ run Party(1); run Party(2); if :: THIRD -> run Party(3) :: else -> skip fi; if :: DIES -> run Reaper(4); run Reaper(5) :: else -> skip fi; run Chaos(); run Monitor() } }
