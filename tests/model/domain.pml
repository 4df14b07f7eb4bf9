/* The life of a domain's name (shm/attachment.cpp, shm/segment.cpp): create, attach, leave, remove, by parties that may die before any step
 * (VICTIM, which `check` replaces; PARTIES says who does what). At rest one more creator comes.
 *
 *   Step       one statement or d_step = one access to shared memory or one system call, plus private work.
 *   File       the creator's number + 1; complete (READY, creator joined) before link() gives it the name; directory lock freed at a death.
 *   Slot       of a party in a file; a dead party's is freed by whoever reaps, in one step here (reap.pml has the steps).
 *   Ghosts     at: the file a party believes to be attached to. gave_up: a leaver did not get the lock.
 *   Settings   EPH ephemeral, PATIENT leavers wait for the lock as long as it takes. */
#ifndef EPH
#define EPH 0
#endif
#ifndef PATIENT
#define PATIENT 1
#endif
#define NP 4
#define NONE 9
#define SLOT(f,p) ((f)*NP+(p))
mtype = { NEW, READY, REMOVED, FREE, JOINING, LIVE, STAY, LEAVE, REMOVE };
byte name;                                                /* the file that the name leads to, 0 = none */
mtype fs[5]=NEW; byte lock[5]=NONE;
mtype slot[20]=FREE;
bool crash[NP]; bool dead[NP]; byte at[NP]; bool gave_up;

inline reap(f){ d_step{ i=0; do :: i<NP -> if :: dead[i] -> slot[SLOT(f,i)]=FREE :: else -> skip fi; i++ :: else -> break od; i=0 } }
inline lock_file(f){ d_step{ lock[f]==NONE -> lock[f]=me } }
inline unlock_file(f){ lock[f]=NONE }
/* Takes the name away if it leads to this file: a look, then a system call; the lock of the file is held. */
inline unlink_file(f){
  ok=(name==f);
  if :: ok -> d_step{ assert(name==0 || fs[name]==REMOVED); name=0 } :: else -> skip fi }
/* Whether nobody but the caller has a slot in f. */
inline look_for_others(f,alone){
  i=0; alone=true;
  do :: i<NP -> d_step{ alone=(alone && (i==me || slot[SLOT(f,i)]==FREE)); i++ } :: else -> break od; skip;
  i=0 }
inline remove_file(f){ fs[f]=REMOVED; unlink_file(f) }

/* Up to `tries` attempts; g is the file, 0 if there is none. */
inline attach(tries){
  do
  :: tries>0 ->
     tries--;
     g=name;                                              /* open */
     if
     :: g==0 -> break
     :: g!=0 ->
        ok=(fs[g]==READY);
        if
        :: !ok ->                                         /* a remover died between the state and the name */
           lock_file(g); unlink_file(g); unlock_file(g); g=0
        :: else ->
           if
           :: EPH ->
              lock_file(g); reap(g); look_for_others(g,alone);
              if :: alone && fs[g]==READY -> remove_file(g) :: else -> skip fi      /* all its processes were killed */
           :: else -> skip
           fi;
           slot[SLOT(g,me)]=JOINING;
           slot[SLOT(g,me)]=LIVE;
           d_step{ ok=(fs[g]==READY); if :: ok -> at[me]=g; assert(fs[g]==READY) :: else -> skip fi };        /* RECHECK */
           if :: !ok -> slot[SLOT(g,me)]=FREE :: else -> skip fi;
           if :: EPH -> unlock_file(g) :: else -> skip fi;
           if :: ok -> break :: else -> g=0 fi
        fi
     fi
  :: else -> break
  od; skip }

/* Gives the private file f its name. A name that a dead remover left is taken away, never a READY one. */
inline publish(f,tries){
  do
  :: tries>0 ->
     tries--;
     d_step{ ok=(name==0); if :: ok -> name=f :: else -> skip fi };                  /* link */
     if :: ok -> at[me]=f; break :: else -> skip fi;
     g=name;
     if
     :: g!=0 ->
        ok=(fs[g]==READY);
        if :: ok -> break :: else -> lock_file(g); unlink_file(g); unlock_file(g) fi
     :: else -> skip
     fi
  :: else -> break
  od; skip }

inline leave(f){
  if
  :: EPH ->
     reap(f);
     if
     :: d_step{ lock[f]==NONE -> lock[f]=me };
        look_for_others(f,alone);
        if
        :: alone && fs[f]==READY ->
           d_step{ i=0; do :: i<NP -> assert(i==me || dead[i] || at[i]!=f); i++ :: else -> break od; i=0; fs[f]=REMOVED };
           unlink_file(f)
        :: else -> skip
        fi;
        d_step{ at[me]=0; slot[SLOT(f,me)]=FREE };
        unlock_file(f)
     :: !PATIENT && lock[f]!=NONE -> gave_up=true; d_step{ at[me]=0; slot[SLOT(f,me)]=FREE }
     fi
  :: else -> d_step{ at[me]=0; slot[SLOT(f,me)]=FREE }
  fi }

proctype Party(byte me; bool creates; mtype then){
  byte f,g,i,tries=2; bool ok,alone;
  { if
    :: creates ->
       d_step{ f=me+1; fs[f]=READY; slot[SLOT(f,me)]=LIVE };                         /* private: nobody finds it */
       publish(f,tries)
    :: else -> attach(tries)
    fi;
    f=at[me];
    if
    :: f!=0 && then==REMOVE -> lock_file(f); remove_file(f); unlock_file(f)
    :: f!=0 && then==LEAVE -> leave(f)
    :: else -> skip
    fi }
  unless { crash[me]; d_step{ dead[me]=true; g=1; do :: g<5 -> lock[g]=(lock[g]==me -> NONE : lock[g]); g++ :: else -> break od } } }

proctype Chaos(byte v){ crash[v]=true }

proctype Monitor(){ byte i;
  timeout ->
  if :: EPH ->                                            /* nobody is left, nobody died, nobody gave up: the name is gone */
        d_step{ i=0; do :: i<NP -> if :: at[i]!=0 || dead[i] -> gave_up=true :: else -> skip fi; i++ :: else -> break od };
        assert(gave_up || name==0)
     :: else -> skip
  fi;
  run Party(3,true,STAY);
  timeout ->
  assert(name!=0 && fs[name]==READY) }

init { atomic{ PARTIES VICTIM run Monitor() } }
