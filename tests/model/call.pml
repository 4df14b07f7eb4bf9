/* Calls (shm/call.*): client 1, servers 2 and 3. One of them may die before any step; then reapers run, of which the first may stop.
 * With REUSE a new client takes over the process slot of a dead one. The ring and its returns lane are an append-only array:
 * the word decides. A chunk's word (st, own, gen) is one atomic word; every d_step is one access.
 * -D settings: NC chunks, CALLS calls of the first client, TMO it may give up at any step, BIG the response lies in a second chunk, IDEM a
 * failed request is sent again, NSERV servers, NREAP reapers per victim, RDIES the first of them may stop anywhere, REUSE.
 * The rules: */
#define CASANSWER true      /* an answer is a CAS of the word that was claimed */
#define CALLERLIVES true    /* a server looks after its answer whether the caller lives */
#define SWEEPSALL true      /* a reaper frees answers of any caller that is gone */
#define FAILS true          /* a reaper answers what its dead had claimed */
#define NAMEFIRST true      /* the request names the second chunk before that is the caller's */
#define SECONDTOO true      /* who frees a request frees the chunk it names */
#define RECHECK true        /* who frees a stranger's answer reads the word again after the name */
#define REREADS true        /* a reaper whose CAS fails looks at the word again */
#ifndef NC
#define NC 2
#endif
#ifndef CALLS
#define CALLS 1
#endif
#ifndef TMO
#define TMO 1
#endif
#ifndef BIG
#define BIG 0
#endif
#ifndef IDEM
#define IDEM 0
#endif
#ifndef REUSE
#define REUSE 0
#endif
#ifndef NSERV
#define NSERV 1
#endif
#ifndef NREAP
#define NREAP 1
#endif
#ifndef RDIES
#define RDIES 0
#endif
#define NONE 15
#define FREE 0
#define OWNED 1
#define OFFERED 2
#define CLAIMED 3
#define REPLIED 4
#define ORPHANED 5
#define FAILED 6
#define MAXQ 7
#define IS(c,s,o,g) (st[c]==s && own[c]==o && gen[c]==g)
byte st[NC]; byte own[NC]; byte gen[NC];                 /* the word */
byte hep[NC]; byte hd[NC]; byte hdg[NC]; byte data[NC];  /* block: client's epoch, second chunk; payload */
byte rc[MAXQ]; byte rg[MAXQ]; byte rt;                   /* request ring and lane */
byte infc[4]=NONE; byte infg[4];                         /* in-flight words */
byte pw;                                                 /* client's process word: 0 LIVE epoch 0, 1 DEAD or SWEPT, 2 LIVE epoch 1 */
bool crash[4]; bool rcrash; bool dead[4]; bool fin[4]; byte reaped[4];
byte waiting;                                            /* ghost: live clients without an outcome */


inline free_own(c,me){ d_step{ assert((st[c]==OWNED||st[c]==ORPHANED||st[c]==REPLIED||st[c]==FAILED||st[c]==CLAIMED) && own[c]==me); st[c]=FREE; own[c]=0 } }
inline cas_free(c,s,o,g){ d_step{ if :: IS(c,s,o,g) -> st[c]=FREE; own[c]=0 :: else -> skip fi } }
inline alloc(me,c){ c=0;
  do
  :: c<NC -> d_step{ ok=(st[c]==FREE); if :: ok -> st[c]=OWNED; own[c]=me :: else -> skip fi }; if :: ok -> break :: else -> c++ fi
  :: else -> break
  od }
inline free_named(d,dg){ if :: SECONDTOO && d!=NONE -> cas_free(d,REPLIED,1,dg) :: else -> skip fi }
/* a stranger's: the name is the call's only if the word has not moved */
inline discard(c,s,o,g){
  d_step{ d=hd[c]; dg=hdg[c] };
  d_step{ ok=(!RECHECK || IS(c,s,o,g)) };
  if :: ok -> free_named(d,dg); cas_free(c,s,o,g) :: else -> skip fi }

proctype Client(byte ep; byte n){
  byte k,c,g,d,dg,tries; bool ok;
  { do
    :: k<n ->
       alloc(1,c);
       if
       :: c==NC -> skip
       :: else ->
          d_step{ g=gen[c]+1; data[c]=100+ep+k; hep[c]=ep; hd[c]=NONE; tries=0 };
          d_step{ infc[1]=c; infg[1]=g };
          d_step{ st[c]=OFFERED; own[c]=1; gen[c]=g };
          d_step{ assert(rt<MAXQ); rc[rt]=c; rg[rt]=g; rt++ };                    /* commit */
          do
          :: IS(c,REPLIED,1,g) ->
             d_step{ d=hd[c]; dg=hdg[c] };
             if :: d!=NONE -> d_step{ assert(IS(d,REPLIED,1,dg)); assert(data[d]==(200+ep+k)%256) }; free_own(d,1)
                :: else -> assert(data[c]==(200+ep+k)%256)
             fi;
             free_own(c,1); break                                                 /* outcome: response */
          :: IS(c,FAILED,1,g) ->
             assert(dead[2] || dead[3]);
             d_step{ d=hd[c]; dg=hdg[c] };
             free_named(d,dg);
             if
             :: IDEM && tries<1 ->                                                /* to another server, through the lane */
                d_step{ assert(data[c]==100+ep+k); hd[c]=NONE; g=g+1; tries++ };
                d_step{ infc[1]=c; infg[1]=g };
                d_step{ st[c]=OFFERED; own[c]=1; gen[c]=g };
                d_step{ assert(rt<MAXQ); rc[rt]=c; rg[rt]=g; rt++ }
             :: else -> assert(!IDEM || NSERV==1); free_own(c,1); break           /* outcome: peer died */
             fi
          :: IS(c,OFFERED,1,g) && (TMO || (dead[2] && (NSERV==1 || dead[3]))) ->
             d_step{ ok=IS(c,OFFERED,1,g); if :: ok -> st[c]=OWNED :: else -> skip fi };
             if :: ok -> free_own(c,1); break :: else -> skip fi                  /* outcome: did not happen */
          :: st[c]==CLAIMED && gen[c]==g && TMO ->
             d_step{ ok=(st[c]==CLAIMED && gen[c]==g); if :: ok -> st[c]=ORPHANED :: else -> skip fi };
             if :: ok -> break :: else -> skip fi                                 /* outcome: may have happened */
          od
       fi; skip;
       d_step{ k++; c=0; g=0; d=0; dg=0; tries=0; ok=false }
    :: else -> break
    od; skip;
    d_step{ waiting--; fin[1]=(ep==0 -> true : fin[1]) } }
  unless { ep==0 && crash[1] && !fin[1] }
  d_step{ if :: ep!=0 -> skip :: ep==0 && fin[1] -> crash[1]=false :: else -> waiting-- fi; dead[1]=(ep==0 -> true : dead[1]) } }

proctype Server(byte me){
  byte h,c,g,d,dg,e; bool ok;
  { do
    :: h<rt ->
       d_step{ c=rc[h]; g=rg[h] };
       d_step{ ok=IS(c,OFFERED,1,g); if :: ok -> st[c]=CLAIMED; own[c]=me :: else -> skip fi };
       if
       :: ok ->
          d_step{ e=hep[c]; d=NONE };
          if
          :: pw!=e -> free_own(c,me)                                                 /* nobody wants it */
          :: else ->
             if :: BIG || IDEM -> alloc(me,d); if :: d==NC -> d=NONE :: else -> skip fi :: else -> skip fi;
             if
             :: d!=NONE ->
                d_step{ dg=gen[d]+1; data[d]=(data[c]+100)%256; hep[d]=e; hd[d]=NONE };
                if :: NAMEFIRST -> d_step{ hd[c]=d; hdg[c]=dg } :: else -> skip fi;
                d_step{ st[d]=REPLIED; own[d]=1; gen[d]=dg };                     /* the caller's from here on */
                if :: NAMEFIRST -> skip :: else -> d_step{ hd[c]=d; hdg[c]=dg } fi
             :: d==NONE && !IDEM -> d_step{ assert(own[c]==me && gen[c]==g && (st[c]==CLAIMED||st[c]==ORPHANED)); data[c]=(data[c]+100)%256 }
             :: else -> assert(false)                                              /* NC is large enough in runs with IDEM */
             fi;
             d_step{ ok=(IS(c,CLAIMED,me,g) || !CASANSWER); if :: ok -> st[c]=REPLIED; own[c]=1 :: else -> skip fi };       /* the answer */
             if
             :: ok -> if :: CALLERLIVES && pw!=e -> discard(c,REPLIED,1,g) :: else -> skip fi
             :: else -> free_named(d,dg); free_own(c,me)                          /* late */
             fi
          fi
       :: else -> skip
       fi; skip;
       d_step{ h++; c=0; g=0; d=0; dg=0; e=0; ok=false }
    od }
  unless { crash[me] }
  dead[me]=true }

proctype Chaos(byte v){ if :: crash[v]=true; if :: RDIES -> rcrash=true :: true fi :: skip fi }

/* One pass over all words for dead v. */
proctype Reaper(byte v; byte last){
  byte c,s,o,g,d,dg,i; bool f,again,ok;
  (dead[v] && !fin[v]);
  if :: v==1 -> if :: pw==0 -> pw=1 :: else -> skip fi :: else -> skip fi;
  { do
  :: c<NC ->
     d_step{ s=st[c]; o=own[c]; g=gen[c] };
     if
     :: s==OWNED && o==v -> cas_free(c,s,v,g)
     :: s==ORPHANED && o==v -> discard(c,s,v,g)
     :: s==OFFERED && o==v && infc[v]==c && infg[v]==g ->
        d_step{ f=false; i=0; do :: i<rt -> f=(f || (rc[i]==c && rg[i]==g)); i++ :: else -> break od };
        if :: !f -> cas_free(c,OFFERED,v,g) :: else -> skip fi
     :: s==CLAIMED && o==v && !FAILS -> cas_free(c,s,v,g)
     :: s==CLAIMED && o==v && FAILS ->
        d_step{ i=hep[c]; f=IS(c,CLAIMED,v,g); if :: f -> st[c]=FAILED; own[c]=1 :: else -> skip fi };
        if :: f && pw!=i -> discard(c,FAILED,1,g)
           :: !f -> again=REREADS                                                 /* the client may have made it ORPHANED */
           :: else -> skip
        fi
     :: o==1 && (s==REPLIED || s==FAILED) && (SWEEPSALL || v==1) ->               /* whoever died */
        if :: pw!=hep[c] -> discard(c,s,1,g) :: else -> skip fi
     :: else -> skip
     fi;
     d_step{ c=(again -> c : c+1); again=false; s=0; o=0; g=0; d=0; dg=0; i=0; f=false; ok=false }
  :: else -> break
  od }
  unless { RDIES && !last && rcrash };
  reaped[v]++;
  if :: REUSE && v==1 && last -> (reaped[1]==NREAP); pw=2; waiting++; run Client(2,1) :: else -> skip fi }

proctype Monitor(){ byte c,i; bool f;
  timeout ->
  d_step{
   assert(waiting==0);                                                            /* nobody hangs */
   c=0; do :: c<NC ->
      f=false; i=0; do :: i<rt -> f=(f || (rc[i]==c && rg[i]==gen[c])); i++ :: else -> break od;
      assert(st[c]==FREE || (st[c]==OFFERED && f && dead[2] && (NSERV==1 || dead[3]))); c++   /* free, or queued with nobody to serve it */
   :: else -> break od } }

init { atomic{ waiting=1; run Client(0,CALLS); PARTIES VICTIM run Monitor() } }
