"""The phrases of prompt injections in French, Italian, Portuguese, Romanian and Spanish."""

# ruff: noqa: E501  (tables of words)

from __future__ import annotations

from typing import Final

from tidegate.rails.rules.phrases.grammar import HIGH, IGNORE, JAILBREAK, LEAK, MEDIUM, Phrase, Phrasebook

_PHRASES: Final = (
    Phrase(IGNORE, HIGH, "ignore! fill* your? orders fill* earlier"),
    Phrase(IGNORE, HIGH, "ignore! fill* earlier fill* orders"),
    Phrase(IGNORE, HIGH, "ignore! fill* your earlier* strong"),
    Phrase(IGNORE, HIGH, "ignore! all fill* instructions"),
    Phrase(IGNORE, MEDIUM, "ignore! fill* orders"),
    Phrase(IGNORE, MEDIUM, "ignore! fill* above_all"),
    Phrase(LEAK, HIGH, "reveal fill* your earlier* secret!"),
    Phrase(LEAK, HIGH, "reveal fill* secret! fill* your"),
    Phrase(LEAK, HIGH, "reveal fill* your fill* orders fill* verbatim!"),
    Phrase(LEAK, MEDIUM, "reveal fill* secret!"),
    Phrase(LEAK, MEDIUM, "your secret!"),
    Phrase(JAILBREAK, HIGH, "be fill* without! limits"),
    Phrase(JAILBREAK, HIGH, "off! fill* your fill* limits"),
    Phrase(JAILBREAK, MEDIUM, "mode!"),
    Phrase(JAILBREAK, MEDIUM, "now! be"),
)

FRENCH: Final = Phrasebook(
    "fr",
    {
        "ignore": "ignore,ignorez,ignorer,oublie,oubliez,oublier,néglige,négligez,ne tiens pas compte,ne tenez pas compte,"
        "ne tiens plus compte,ne prends pas en compte,fais abstraction,faites abstraction,contourne,contournez,"
        "outrepasse,outrepassez,laisse de côté,laissez de côté,mets de côté,mettez de côté,abandonne,abandonnez,"
        "désobéis,désobéissez,passe outre,passez outre,ne suis plus,ne suivez plus,ne suis pas,ne suivez pas,écarte,"
        "écartez,annule,annulez",
        "fill": "toutes,tous,tout,toute,les,la,le,l',des,de,du,d',ces,ce,cette,et,ou,qui,que,s'il te plaît,s'il vous plaît,"
        "complètement,maintenant,immédiatement,moi,à,ci,ont été,données,donné,reçues,est,sont,était,étaient,quel,quelle,"
        "quelles,me,nous,en,autres,exactement,exact,exacte,par,dans,pour,je,veux,temporairement",
        "earlier": "précédentes,précédente,précédents,précédent,antérieures,antérieurs,antérieure,antérieur,ci dessus,"
        "initiales,initiale,initial,initiaux,d'origine,originales,originale,reçues,données précédemment,plus haut,d'avant,"
        "système,du système,de base,prédéfinies,préalables,de départ,cachées,standard,habituelles,éthiques,"
        "de sécurité,intrinsèques,opérationnelles,par défaut,normales",
        "orders": "instructions,instruction,consignes,consigne,directives,directive,règles,règle,ordres,ordre,commandes,"
        "prompts,prompt,indications,restrictions,contraintes,limites,limitations,paramètres,programmation,protocoles",
        "instructions": "instructions,consignes,directives",
        "all": "toutes les,tous les,toute,toutes vos,toutes tes",
        "your": "tes,ton,ta,vos,votre,t'ont été,vous ont été",
        "strong": "instructions,consignes,directives,programmation,entraînement,restrictions,règles de sécurité,"
        "règles éthiques,directives éthiques,garde fous,filtres,limitations,politique de contenu,normes éthiques,"
        "principes éthiques,principes fondamentaux,protocoles de sécurité,règles opérationnelles,limites éthiques,"
        "considérations éthiques,directives de sécurité",
        "above_all": "tout ce qui précède,tout ce qui a été dit,tout ce que je t'ai dit,ce qui précède",
        "reveal": "révèle,révélez,révéler,montre,montrez,montrer,affiche,affichez,afficher,donne,donnez,dis,dites,répète,"
        "répétez,partage,partagez,divulgue,divulguez,imprime,imprimez,quel est,quelle est,quelles sont,quelle était,"
        "quelles étaient,écris,écrivez,expose,exposez,dévoile,dévoilez,dévoiler,copie,copiez,traduis,traduisez,"
        "communique,communiquez,confie,confiez,récite,récitez",
        "secret": "prompt système,prompt du système,prompt initial,prompt caché,prompt d'origine,prompt original,"
        "invite système,message système,message du système,instructions système,instructions du système,"
        "instructions cachées,instructions initiales,instructions secrètes,instructions d'origine,consignes système,"
        "consignes initiales,consignes secrètes,consignes cachées,directives système,directives initiales,"
        "directives cachées,instructions internes,prompt de base,instructions de base",
        "verbatim": "mot pour mot,mot à mot,textuellement,verbatim",
        "be": "tu es,vous êtes,agis comme,agissez comme,fais comme si,faites comme si,comporte toi comme,réponds,répondez,"
        "prétends être,joue le rôle de,jouez le rôle de,imagine que tu es,agis en tant que,désormais,tu n'as,vous n'avez",
        "without": "une ia sans aucune,une ia sans,un assistant sans,une intelligence artificielle sans,sans aucune,sans,"
        "aucune,libre de toute,libéré de toute,plus aucune",
        "limits": "restrictions,restriction,limites,limite,règles,filtres,filtre,censure,limitations,"
        "contraintes,barrières éthiques,contrainte,règle",
        "off": "désactive,désactivez,désactiver,supprime,supprimez,lève,levez,contourne,contournez",
        "mode": "mode dan,mode jailbreak,mode développeur activé,mode sans restriction,mode sans restrictions,"
        "interface dan,mode non restreint",
        "now": "à partir de maintenant,dorénavant,désormais",
    },
    _PHRASES,
)

SPANISH: Final = Phrasebook(
    "es",
    {
        "ignore": "ignora,ignore,ignorar,ignoren,olvida,olvide,olvídate,olvídese,olvidar,descarta,descarte,desestima,"
        "desestime,desatiende,omite,omita,pasa por alto,pase por alto,haz caso omiso,haga caso omiso,no sigas,no siga,"
        "deja de lado,deje de lado,no tengas en cuenta,no tenga en cuenta,desobedece,desobedezca,elude,evade,anula,anule,"
        "abandona,abandone,incumple,desafía,suspende,prescinde,sáltate,no hagas caso,deja de seguir,viola",
        "fill": "todas,todos,todo,toda,las,los,la,lo,el,de,del,a,al,por,favor,estas,esas,estos,esos,y,o,que,te,le,me,nos,se,"
        "han dado,dieron,di,ahora,completamente,por completo,cuál,cuáles,es,son,era,eran,fue,en,otras,exactamente,exacto,"
        "exacta,mí,con,para,temporalmente,sobre,e",
        "earlier": "anteriores,anterior,previas,previa,previos,previo,iniciales,inicial,originales,original,precedentes,"
        "de arriba,arriba,recibidas,dadas,del sistema,de sistema,de base,ocultas,estándar,habituales,éticas,éticos,"
        "de seguridad,predeterminadas,predeterminados,fundamentales,normales",
        "orders": "instrucciones,instrucción,indicaciones,indicación,directrices,directivas,reglas,órdenes,orden,normas,"
        "comandos,prompts,prompt,restricciones,limitaciones,pautas,mensajes del sistema,programación,protocolos",
        "instructions": "instrucciones,directrices,indicaciones,órdenes",
        "all": "todas las,todas tus,todas sus",
        "your": "tus,tu,sus,su,vuestras",
        "strong": "instrucciones,directrices,programación,entrenamiento,restricciones,reglas de seguridad,reglas éticas,"
        "directrices éticas,pautas éticas,filtros,limitaciones,políticas de contenido,política de contenido,"
        "normas éticas,principios éticos,principios fundamentales,protocolos de seguridad,límites éticos,"
        "limitaciones éticas,consideraciones éticas,pautas de seguridad,protocolos estándar,directivas",
        "above_all": "todo lo anterior,lo anterior,todo lo dicho,todo lo que te dije,todo lo que te han dicho",
        "reveal": "revela,revele,revelar,revélame,muestra,muestre,muéstrame,mostrar,enseña,enséñame,dime,diga,dígame,repite,"
        "repita,imprime,imprima,comparte,comparta,divulga,divulgue,dame,deme,escribe,escriba,expón,exponga,cuál es,"
        "cuáles son,cuál fue,cuál era,copia,copie,traduce,traduzca,describe,desvela,desenmascara,recita,confiesa",
        "secret": "prompt de sistema,prompt del sistema,prompt inicial,prompt oculto,prompt original,mensaje de sistema,"
        "mensaje del sistema,instrucciones de sistema,instrucciones del sistema,instrucciones ocultas,"
        "instrucciones iniciales,instrucciones secretas,instrucciones originales,indicaciones iniciales,"
        "indicaciones del sistema,indicaciones ocultas,indicación oculta,indicación inicial,prompt secreto,"
        "instrucciones internas,directrices ocultas,directrices internas,prompt base,instrucciones base",
        "verbatim": "palabra por palabra,textualmente,al pie de la letra,literalmente",
        "be": "eres,actúa como,actúe como,finge ser,finge que eres,finja ser,compórtate como,responde,responda,imagina que eres,"
        "haz de,simula ser,ahora eres,ahora no tienes,desde ahora no tienes,pretende ser,pretende que eres,no tienes",
        "without": "una ia sin,un asistente sin,una inteligencia artificial sin,un modelo sin,sin ningún tipo de,sin ninguna,"
        "sin ningún,sin,ninguna,libre de,ningún tipo de",
        "limits": "restricciones,restricción,límites,límite,reglas,filtros,filtro,censura,limitaciones,limitación,"
        "limitaciones éticas,normas éticas",
        "off": "desactiva,desactive,deshabilita,elimina tus,quita,elude,evita,desactivar",
        "mode": "modo dan,modo jailbreak,modo desarrollador activado,modo sin restricciones,modo sin límites,interfaz dan",
        "now": "a partir de ahora,de ahora en adelante,desde ahora",
    },
    _PHRASES,
)

PORTUGUESE: Final = Phrasebook(
    "pt",
    {
        "ignore": "ignore,ignora,ignorar,esqueça,esquece,esqueçam,desconsidere,desconsidera,desconsiderar,descarte,"
        "despreze,não siga,não sigas,deixe de lado,deixa de lado,desobedeça,contorne,contorna,abandone,abandona,"
        "negligencie,omita,omite,anule,anula,suspenda,suspende,prescinda,prescinde,viole,não obedeça,pare de seguir",
        "fill": "todas,todos,tudo,toda,todo,as,os,a,o,de,das,dos,da,do,por,favor,essas,estas,esses,estes,e,ou,que,te,lhe,me,"
        "foram,dadas,deram,agora,completamente,qual,quais,é,são,era,eram,foi,em,outras,exatamente,exato,exata,mim,com,"
        "para,temporariamente,seguir,sobre",
        "earlier": "anteriores,anterior,prévias,prévia,prévios,prévio,iniciais,inicial,originais,original,precedentes,acima,"
        "recebidas,do sistema,de sistema,de base,ocultas,padrão,habituais,éticas,éticos,de segurança,"
        "predefinidas,fundamentais,normais",
        "orders": "instruções,instrução,indicações,diretrizes,diretivas,regras,ordens,ordem,normas,comandos,prompts,prompt,"
        "restrições,limitações,orientações,programação,protocolos,directrizes,procedimentos",
        "instructions": "instruções,diretrizes,orientações,ordens",
        "all": "todas as,todas as suas,todas as tuas",
        "your": "suas,sua,seus,seu,tuas,tua,teus,teu",
        "strong": "instruções,diretrizes,programação,treinamento,treino,restrições,regras de segurança,regras éticas,"
        "diretrizes éticas,filtros,limitações,políticas de conteúdo,política de conteúdo,normas éticas,"
        "princípios éticos,princípios fundamentais,protocolos de segurança,limites éticos,considerações éticas,"
        "protocolos padrão",
        "above_all": "tudo acima,tudo o que foi dito,tudo que foi dito,tudo o que eu disse,o texto acima",
        "reveal": "revele,revela,revelar,mostre,mostra,mostrar,exiba,exibe,diga,diz,dize,repita,repete,imprima,imprime,"
        "compartilhe,partilhe,divulgue,divulga,dê,dá,escreva,escreve,exponha,qual é,quais são,qual foi,qual era,copie,"
        "traduza,descreva,desvende,recite,confesse",
        "secret": "prompt de sistema,prompt do sistema,prompt inicial,prompt oculto,prompt original,mensagem de sistema,"
        "mensagem do sistema,instruções de sistema,instruções do sistema,instruções ocultas,instruções iniciais,"
        "instruções secretas,instruções originais,prompt secreto,instruções internas,diretrizes ocultas,"
        "diretrizes internas,prompt base,instruções base",
        "verbatim": "palavra por palavra,textualmente,literalmente,na íntegra",
        "be": "você é,você agora é,tu és,aja como,age como,atue como,finja ser,finja que é,finge ser,comporte se como,"
        "responda,responde,imagine que é,agora você é,você não tem,você agora não tem,simule ser",
        "without": "uma ia sem,um assistente sem,uma inteligência artificial sem,um modelo sem,sem nenhuma,sem qualquer,"
        "sem quaisquer,sem,nenhuma,livre de,mais nenhuma",
        "limits": "restrições,restrição,limites,limite,regras,filtros,filtro,censura,limitações,limitação,limitações éticas",
        "off": "desative,desativa,desabilite,remova,desligue,contorne,burle",
        "mode": "modo dan,modo jailbreak,modo desenvolvedor ativado,modo sem restrições,modo sem limites,interface do dan",
        "now": "a partir de agora,de agora em diante,daqui em diante",
    },
    _PHRASES,
)

ITALIAN: Final = Phrasebook(
    "it",
    {
        "ignore": "ignora,ignori,ignorate,ignorare,dimentica,dimentichi,dimenticate,dimenticare,tralascia,trascura,"
        "trascurate,non considerare,non tenere conto,non tener conto,non seguire,scarta,scartate,lascia perdere,"
        "metti da parte,mettete da parte,disobbedisci,aggira,aggirate,abbandona,ometti,sospendi,annulla,viola,elimina tutte",
        "fill": "tutte,tutti,tutto,tutta,le,gli,i,la,lo,il,l',di,delle,dei,del,della,a,queste,questi,quelle,quelli,e,o,che,"
        "ti,mi,ci,sono state,date,sono,state,ora,adesso,completamente,per favore,qual,quali,è,era,erano,in,altre,"
        "esattamente,esatto,esatte,con,per,temporaneamente,una,un,stato,stata,fornite,impartite,ho dato",
        "earlier": "precedenti,precedente,iniziali,iniziale,originali,originale,antecedenti,sopra,di sopra,ricevute,"
        "di sistema,del sistema,di base,nascoste,standard,abituali,etiche,etici,di sicurezza,predefinite,"
        "predefiniti,fondamentali,normali",
        "orders": "istruzioni,istruzione,indicazioni,direttive,regole,ordini,ordine,norme,comandi,prompt,restrizioni,"
        "limitazioni,linee guida,disposizioni,programmazione,protocolli",
        "instructions": "istruzioni,direttive,linee guida,indicazioni",
        "all": "tutte le,tutte le tue,tutte le sue",
        "your": "tue,tuo,tua,tuoi,sue,suo,vostre",
        "strong": "istruzioni,direttive,linee guida,programmazione,addestramento,restrizioni,regole di sicurezza,"
        "regole etiche,linee guida etiche,filtri,limitazioni,norme etiche,principi etici,principi fondamentali,"
        "protocolli di sicurezza,limiti etici,considerazioni etiche,politiche sui contenuti",
        "above_all": "tutto quanto sopra,quanto sopra,tutto ciò che precede,tutto quello che è stato detto",
        "reveal": "rivela,rivelami,riveli,rivelare,mostra,mostrami,mostri,mostrare,dimmi,ripeti,ripetimi,stampa,condividi,"
        "divulga,dammi,scrivi,scrivimi,esponi,qual è,quali sono,qual era,quali erano,qual è stato,copia,traduci,"
        "descrivi,svela,svelami,recita,confessa,visualizza,puoi mostrare",
        "secret": "prompt di sistema,prompt del sistema,prompt iniziale,prompt nascosto,prompt originale,messaggio di sistema,"
        "messaggio del sistema,istruzioni di sistema,istruzioni del sistema,istruzioni nascoste,istruzioni iniziali,"
        "istruzioni segrete,istruzioni originali,prompt segreto,istruzioni interne,direttive nascoste,"
        "direttive interne,prompt base,prompt di base,istruzioni di base",
        "verbatim": "parola per parola,testualmente,alla lettera,letteralmente",
        "be": "sei,agisci come,agite come,fingi di essere,fingi che sei,comportati come,rispondi,rispondete,immagina di essere,"
        "ora sei,adesso sei,da ora sei,non hai,ora non hai,simula di essere",
        "without": "un'ia senza,un assistente senza,un'intelligenza artificiale senza,un modello senza,senza alcuna,senza,"
        "nessuna,libero da,più alcuna,alcuna",
        "limits": "restrizioni,restrizione,limiti,limite,regole,filtri,filtro,censura,limitazioni,limitazioni etiche",
        "off": "disattiva,disattivate,disabilita,rimuovi,elimina,togli,aggira",
        "mode": "modalità dan,modalità jailbreak,modalità sviluppatore attivata,modalità senza restrizioni,interfaccia dan",
        "now": "da ora in poi,d'ora in poi,da adesso in poi",
    },
    _PHRASES,
)

ROMANIAN: Final = Phrasebook(
    "ro",
    {
        "ignore": "ignoră,ignorați,ignora,ignore,uită,uitați,nu lua în seamă,nu ține cont,nu urma,lasă deoparte,renunță la,"
        "abandonează,omite,suspendă,ocolește,neglijează,nu mai urma,anulează,încalcă",
        "fill": "toate,toți,tot,de,a,ale,cele,cel,cea,și,sau,care,te,rog,ți,mi,ne,au fost,date,acum,complet,pe,la,în,din,"
        "temporar,este,sunt,era,erau,exact,cu",
        "earlier": "anterioare,anterior,precedente,precedent,inițiale,inițial,originale,de mai sus,de mai înainte,de sistem,"
        "ale sistemului,primite,ascunse,standard,obișnuite,etice,de siguranță,de bază,prestabilite",
        "orders": "instrucțiunile,instrucțiuni,instrucțiunea,indicațiile,indicații,directivele,directive,regulile,reguli,"
        "ordinele,comenzile,restricțiile,limitările,programarea,prompturile,protocoalele,ghidurile",
        "instructions": "instrucțiunile,indicațiile,regulile,directivele",
        "all": "toate",
        "your": "tale,tău,ta,tăi,dumneavoastră",
        "strong": "instrucțiuni,directive,restricții,reguli",
        "above_all": "tot ce e mai sus,tot ce s-a spus,tot ce este mai sus",
        "reveal": "dezvăluie,dezvăluiți,arată,arătați,afișează,afișați,spune,spuneți,repetă,repetați,tipărește,împărtășește,"
        "dă,scrie,care este,care sunt,care a fost,care era,expune,copiază,traduce,descrie,divulgă",
        "secret": "promptul de sistem,promptul sistemului,promptul inițial,promptul ascuns,promptul original,mesajul de sistem,"
        "instrucțiunile de sistem,instrucțiunile sistemului,instrucțiunile ascunse,instrucțiunile inițiale,"
        "instrucțiunile secrete,instrucțiunile originale,instrucțiunile interne,directivele ascunse",
        "verbatim": "cuvânt cu cuvânt,textual,literal",
        "be": "ești,acționează ca,prefă te că ești,comportă te ca,răspunde,imaginează ți că ești,acum ești,nu ai",
        "without": "o ia fără,o inteligență artificială fără,un asistent fără,un model fără,fără nicio,fără,nicio",
        "limits": "restricții,restricție,limite,limită,reguli,filtre,cenzură,limitări,constrângeri",
        "off": "dezactivează,dezactivați,elimină,înlătură,ocolește",
        "mode": "modul dan,modul jailbreak,modul fără restricții,interfața dan",
        "now": "de acum înainte,începând de acum,de acum încolo",
    },
    (
        *_PHRASES,
        Phrase(IGNORE, HIGH, "ignore! fill* orders fill* your"),
        Phrase(JAILBREAK, HIGH, "off! fill* limits your"),
    ),
)

ROMANCE: Final = (FRENCH, SPANISH, PORTUGUESE, ITALIAN, ROMANIAN)
