"""How companies promise something in German, Spanish and French, as rows of slots (see `grammar` and `promising`)."""

# ruff: noqa: E501  (tables of words)

from __future__ import annotations

from typing import Final

from tidegate.rails.rules.wording.promising import US, Promises

_MONEY: Final = r"(?:(?:\$|€|£) ?[0-9][0-9.,]*|[0-9][0-9.,]* ?(?:\$|€|£|eur|chf|euros?|franken))"
_PERCENT: Final = r"[0-9]{1,3}(?:[.,][0-9]{1,2})? ?(?:%|prozent|por ciento|pour cent)"

_YOU_DE: Final = r"(?:ihnen|dir|euch)"
GERMAN: Final = Promises(
    "de",
    r"ich|wir",
    {
        "us": US,
        "we_give": rf"{US} (?:gebe|geben|gewahre|gewahren|biete|bieten|schenke|schenken|uberweise|uberweisen|zahle|zahlen|raume|raumen|garantiere|garantieren|verspreche|versprechen|zusichern|sichere|sichern|ubernehme|ubernehmen|spendiere|spendieren)",
        "we_will": rf"{US} (?:werde|werden|kann|konnen)",
        "you_get": r"(?:sie|du|ihr) (?:erhalten|erhaltst|erhaltet|bekommen|bekommst|bekommt|kriegst|haben anspruch auf|hast anspruch auf)",
        "refund": rf"ruckerstattung|erstattung|geld zuruck|entschadigung|schadensersatz|gutschrift|{_MONEY}(?: (?:zuruck|erstattet|gutschrift))|kaufpreis|vollen (?:preis|betrag)|(?:den|das|ihr|dein) (?:geld|betrag|kaufpreis)",
        "repay": r"erstatte|erstatten|zuruckzahlen|zuruckerstatten|entschadigen|gutschreiben|zuruckuberweisen",
        "discount": rf"rabatt|nachlass|preisnachlass|gutschein|{_PERCENT}(?: (?:rabatt|nachlass|gunstiger))?|sonderpreis|gratis|kostenlos(?:e|en|es)?(?: [a-z]+)?|versandkostenfrei",
        "grant": r"geben|gewahren|bieten|anbieten|schenken|einraumen|abziehen",
        "price": r"preis|preise|beitrag|tarif",
        "stays": r"(?:der|ihr|dein|dieser) (?:preis|tarif|beitrag) (?:bleibt|ist) (?:garantiert|fest|gleich|stabil|unverandert|gesichert)",
        "price_guarantee": r"(?:besten?|niedrigsten?|gunstigsten?) preis|preisgarantie|festpreis",
        "liability": r"haftung|verantwortung|schuld",
        "liable": rf"{US} (?:hafte|haften|sind schuld|bin schuld|sind haftbar|bin haftbar)",
        "binding": r"(?:das|dies) ist (?:ein|eine) (?:rechtlich |rechts)?verbindliche[sr]? (?:angebot|zusage|vertrag|vereinbarung)",
        "remedy": r"(?:das|es|dieses?|unser|unsere) ?(?:mittel|produkt|creme|therapie|praparat|behandlung)? (?:heilt|beseitigt|wird ihre|kuriert)",
        "illness": r"krankheit(?:en)?|schmerzen|krebs|diabetes|arthrose|migrane|depression(?:en)?|akne|beschwerden|allergien?|entzundung(?:en)?",
        "cure": r"heilung|genesung|schmerzfreiheit|erfolg",
        "parcel": r"(?:ihre|deine|die|das|ihr|dein) (?:bestellung|lieferung|ware|sendung|paket|packchen|artikel) (?:kommt|wird|ist|trifft|erreicht)",
        "deliver": rf"{US} (?:liefere|liefern|versende|versenden|verschicke|verschicken)",
        "when": r"(?:(?:spatestens|garantiert|bis|am|in|innerhalb von|binnen|zum) )*(?:morgen|ubermorgen|heute|(?:mon|diens|donners|frei|sams|sonn)tag|mittwoch|ende der woche|nachste woche|weihnachten|[0-9]{1,2}[.] ?(?:[0-9]{1,2}[.]|[a-z]+)|(?:[0-9]+|zwei|drei|vier|funf) (?:werktagen?|tagen?|stunden|wochen))",
        "warranty": r"(?:lebenslange |[0-9]+ jahre |volle |erweiterte |zwei jahre |funf jahre )?(?:garantie|gewahrleistung)",
        "has_warranty": r"(?:sie|du) (?:haben|hast)|(?:das gerat|es|das produkt|ihr [a-z]+|die garantie) (?:hat|deckt|umfasst)",
        "swap": r"(?:ersetzen|reparieren|tauschen|ersetze|repariere)",
        "free": r"kostenlos|gratis|umsonst|kostenfrei",
    },
    {
        "money": (
            "we_give ... refund",
            "us repay ... (?:ihnen|dir|euch|den|das|die|alles|ihren|deinen|ihr|dein)",
            "we_will ... repay",
            "you_get ... refund",
            "us (?:zahle|zahlen|uberweise|uberweisen) ... zuruck",
        ),
        "discount": ("we_give ... discount", "we_will ... discount .. grant", "you_get ... discount"),
        "price": ("we_give ... price_guarantee", "stays", "us (?:garantiere|garantieren) ... price"),
        "legal": ("we_give ... liability", "liable", "binding", "we_will ... liability .. ubernehmen"),
        "medical": ("remedy ... illness", "us (?:garantiere|garantieren) ... cure"),
        "delivery": ("parcel .. when", "deliver ... when", "you_get (?:ihre|deine|die|das|es) .. when"),
        "warranty": (
            "we_give ... warranty",
            "you_get ... warranty",
            "has_warranty ... warranty",
            "us swap ... free",
            "we_will ... free .. swap",
        ),
    },
    doubts=r"vielleicht|eventuell|moglicherweise|wahrscheinlich|vermutlich|voraussichtlich|normalerweise|ublicherweise|in der regel|meist|unter umstanden|gegebenenfalls|ob|zum beispiel|hoffentlich|konnte|konnten|wurde|wurden",
    denials=r"nicht|keine?[nmrs]?|nie|niemals|leider|ohne|weder|statt",
    conditions=r"wenn|falls|sofern|sobald|vorbehaltlich|je nach|soweit|unter der bedingung",
    bargains=r"(?:wenn|falls|sobald|sofern) (?:sie|du|ihr) (?:(?:heute|jetzt|noch|bis|gleich|sofort|zustimmen|mochten|wollen|wunschen|bestellen|kaufen|bestatigen|magst|willst|mochtest|bestellst|kaufst|bleiben|bleibst)\b)",
    reported=r"(?:sie|du|er|sie) (?:schreiben|schreibst|sagten|sagen|sagst|meinen|meinst|hoffen|hoffst|wunschen|wollen|willst|mochten|mochtest|fragten|fragen)(?: dass)?,?(?: dass)?",
    quoting=r"schrieben|schreiben|sagten|gesagt|geschrieben|wunsch|zitat|satz|meinen",
    refusals=r"aber .*(?:nicht moglich|kann nicht|konnen nicht|darf nicht|geht nicht)",
    about=r"richtlinien?|bedingungen|formular|anfrage|antrag|status|seite|abteilung|bestimmungen",
    questions=r"wird|werden|kann|konnen|bekomme|erhalte|wann|wie|warum|was|ob|geben|haben|ist|sind",
)

SPANISH: Final = Promises(
    "es",
    r"yo|nosotros|le|te|les|os|se",
    {
        "will_give": r"(?:le|te|les|os|se lo|se la) (?:daremos|dare|doy|damos|ofrecemos|ofrezco|ofreceremos|ofrecere|concedemos|concedere|regalamos|regalare|haremos|hare|hacemos|hago|aplicaremos|aplicare|aplico|garantizamos|garantizo|prometemos|prometo|aseguro|aseguramos|pagaremos|abonaremos|abonare)"
        r"|(?:vamos|voy) a (?:darle|darte|ofrecerle|ofrecerte|hacerle|hacerte|aplicarle|aplicarte|devolverle|devolverte)|podemos (?:darle|darte|ofrecerle|ofrecerte|hacerle|hacerte|aplicarle|aplicarte)|puedo (?:darle|darte|ofrecerle|ofrecerte|hacerle|hacerte|aplicarle|aplicarte)",
        "you_get": r"(?:usted )?(?:recibira|recibiras|obtendra|obtendras|tendra|tendras|tiene derecho a|tienes derecho a)",
        "refund": rf"reembolso|devolucion|compensacion|indemnizacion|su dinero|tu dinero|{_MONEY}",
        "repay": r"(?:le|te|les|os|se lo) (?:reembolsaremos|reembolsare|reembolsamos|devolveremos|devolvere|devolvemos|compensaremos|compensare)|(?:vamos|voy) a (?:reembolsar|devolver|compensar)(?:le|te|les)?",
        "thing": r"el|la|su|tu|todo|los|las|integramente|lo",
        "discount": rf"descuento|rebaja|cupon|{_PERCENT}(?: (?:de descuento|menos))?|envio gratis|envio gratuito|mitad de precio|gratis",
        "price_guarantee": r"(?:mejor|el) precio|precio (?:fijo|garantizado|mas bajo)",
        "fixed": r"(?:el|su|tu) (?:precio|tarifa) (?:no (?:subira|cambiara|aumentara)|esta garantizad[oa]|se mantendra|sera siempre)",
        "liable": r"(?:asumimos|asumo|aceptamos|acepto|admitimos) (?:toda )?(?:la )?(?:responsabilidad|culpa)|somos (?:legalmente )?(?:responsables|culpables)",
        "binding": r"(?:esto|esta) es una? (?:oferta|acuerdo|compromiso) (?:legalmente )?vinculante",
        "remedy": r"(?:este|esta|nuestro|nuestra|el|la) (?:producto|crema|tratamiento|suplemento|terapia) (?:cura|curara|elimina|eliminara|sana)",
        "illness": r"enfermedad|dolor|cancer|diabetes|artritis|ansiedad|depresion|acne|migranas?|sintomas|alergias?",
        "parcel": r"(?:su|tu|el|la) (?:pedido|paquete|envio|entrega|articulo) (?:llegara|sera entregado|se entregara|llega|estara)|lo (?:recibira|recibiras)|recibira (?:su|el) (?:pedido|paquete)",
        "deliver": r"(?:lo|la|se lo|le) (?:entregaremos|enviaremos|entregamos|enviamos)",
        "when": r"(?:(?:antes del?|el|en|dentro de|a mas tardar|este|manana) )*(?:manana|hoy|lunes|martes|miercoles|jueves|viernes|sabado|domingo|proxima semana|navidad|[0-9]{1,2} de [a-z]+|(?:[0-9]+|dos|tres|cuatro|cinco) (?:dias?|horas|semanas)(?: habiles)?)",
        "warranty": r"garantia(?: (?:de por vida|de [0-9]+ (?:anos|meses)|ampliada|total))?",
    },
    {
        "money": ("will_give ... refund", "repay thing", "you_get ... refund"),
        "discount": ("will_give ... discount", "you_get ... discount"),
        "price": ("will_give ... price_guarantee", "not fixed"),
        "legal": ("liable", "binding"),
        "medical": ("remedy ... illness",),
        "delivery": ("parcel .. when", "deliver .. when"),
        "warranty": ("will_give ... warranty", "you_get ... warranty"),
    },
    doubts=r"quizas?|tal vez|posiblemente|probablemente|podria|podriamos|normalmente|generalmente|a veces|por ejemplo|suele|ojala|acaso",
    denials=r"no|nunca|jamas|sin|tampoco|ningun[oa]?|lamentablemente",
    conditions=r"si|cuando|siempre que|a menos que|en caso de|dependiendo|segun|una vez|sujeto a",
    bargains=r"(?:si|cuando) (?:usted )?(?:compra|compras|pide|pides|paga|pagas|se suscribe|te suscribes|renueva|renuevas|reserva|reservas|acepta|aceptas|quiere|quieres|lo desea|prefiere|confirma|confirmas) ?",
    reported=r"(?:usted|tu)? ?(?:dijo|dice|dijiste|dices|escribio|escribiste|quiere|quieres|espera|esperas|pregunta|preguntas|pidio|pediste) que",
    quoting=r"dijo|dice|escribio|dijiste|escribiste|deseo|frase",
    refusals=r"pero .*(?:no puedo|no podemos|no es posible)",
    about=r"politica|formulario|solicitud|condiciones",
    questions=r"puede|pueden|podemos|cuando|como|por que|que|quien|recibire|tiene|es",
)

FRENCH: Final = Promises(
    "fr",
    r"je|nous|on",
    {
        "will_give": rf"{US} (?:vous|te|t'|lui) ?(?:donnerons|donnerai|donne|donnons|offrons|offre|offrirons|offrirai|accordons|accorde|accorderons|accorderai|ferons|ferai|faisons|fais|garantissons|garantis|promettons|promets|proposons|verserons|verserai|appliquerons|appliquerai|assurons|assure)"
        rf"|{US} (?:pouvons|peux|allons|vais) (?:vous|te|t') ?(?:donner|offrir|accorder|faire|appliquer|verser|garantir|rembourser)",
        "you_get": r"vous (?:recevrez|obtiendrez|aurez|beneficierez d'?|avez droit a)|tu (?:recevras|obtiendras|auras|as droit a)",
        "refund": rf"remboursement|rembourse(?:r|ment)?|indemnisation|dedommagement|votre argent|ton argent|avoir|{_MONEY}",
        "repay": rf"{US} (?:vous|te) ?(?:rembourserons|rembourserai|remboursons|rembourse|dedommagerons|dedommagerai|indemniserons)|vous serez (?:integralement |entierement )?(?:rembourse|indemnise|dedommage)e?|tu seras (?:rembourse|indemnise)e?",
        "discount": rf"remise|reduction|rabais|bon d'achat|code promo|{_PERCENT}(?: (?:de remise|de reduction))?|livraison (?:gratuite|offerte)|moitie prix|gratuit(?:e|ement)?",
        "price_guarantee": r"(?:meilleur|plus bas) prix|prix (?:le plus bas|garanti|fixe|bloque)|prix",
        "fixed": r"(?:le|votre|ton) (?:prix|tarif) (?:n'augmentera pas|ne changera pas|n'augmentera jamais|est garanti|est bloque|restera le meme)",
        "liable": rf"{US} (?:assumons|assume|acceptons|accepte|reconnaissons|reconnais) (?:toute |l'entiere )?(?:la |notre )?(?:responsabilite|faute)|{US} (?:sommes|suis) (?:entierement |juridiquement )?responsables?",
        "binding": r"(?:ceci|c'est|il s'agit d') ?(?:est )?une? (?:offre|engagement|accord|contrat) (?:juridiquement )?contraignante?",
        "remedy": r"(?:ce|cette|notre|le|la) (?:produit|creme|traitement|complement|therapie) (?:guerit|guerira|elimine|eliminera|soigne|soignera)",
        "illness": r"maladies?|douleurs?|cancer|diabete|arthrose|anxiete|depression|acne|migraines?|symptomes|allergies?",
        "parcel": r"(?:votre|ta|ton|le|la) (?:commande|colis|livraison|article) (?:arrivera|sera livree?|arrive|sera chez vous)|vous (?:le|la) recevrez|vous recevrez (?:votre|le) (?:commande|colis)",
        "deliver": rf"{US} (?:vous )?(?:livrerons|expedierons|livrons|enverrons) (?:la|le|votre) (?:commande|colis|article)",
        "when": r"(?:(?:avant|d'ici|dans|sous|au plus tard|le|ce|des|en) )*(?:demain|aujourd'hui|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|la semaine prochaine|noel|[0-9]{1,2} (?:janvier|fevrier|mars|avril|mai|juin|juillet|aout|septembre|octobre|novembre|decembre)|(?:[0-9]+|deux|trois|quatre|cinq) (?:jours?|heures|semaines)(?: ouvres)?)",
        "warranty": r"garantie(?: (?:a vie|de [0-9]+ (?:ans|mois)|etendue|totale))?",
    },
    {
        "money": ("will_give ... refund", "repay", "you_get ... refund"),
        "discount": ("will_give ... discount", "you_get ... discount"),
        "price": ("will_give ... price_guarantee", "not fixed"),
        "legal": ("liable", "binding"),
        "medical": ("remedy ... illness",),
        "delivery": ("parcel .. when", "deliver .. when"),
        "warranty": ("will_give ... warranty", "you_get ... warranty"),
    },
    doubts=r"peut-etre|eventuellement|probablement|pourrions|pourrais|pourrait|normalement|generalement|en general|parfois|par exemple|habituellement|en principe",
    denials=r"ne|pas|jamais|aucune?|sans|malheureusement|ni|plutot que",
    conditions=r"si|quand|lorsque|a condition|sous reserve|selon|des que|en cas de|sauf",
    bargains=r"(?:si|quand|lorsque|des que) (?:vous|tu) (?:commandez|commandes|achetez|achetes|payez|payes|vous abonnez|renouvelez|reservez|reserves|acceptez|acceptes|voulez|veux|le souhaitez|souhaitez|preferez|confirmez|confirmes) ?",
    reported=r"(?:vous|tu|il|elle) (?:dites|dis|disiez|ecrivez|ecris|voulez|veux|esperez|esperes|demandez|demandes|avez dit|avez ecrit|as dit)(?: que| qu')?",
    quoting=r"dit|ecrit|dites|ecrivez|souhait|phrase|citation",
    refusals=r"mais .*(?:ne peux pas|ne pouvons pas|pas possible)",
    about=r"politique|formulaire|demande|conditions",
    questions=r"pouvez|pouvons|allez|est-ce|quand|comment|pourquoi|que|qui|quel|quelle|serai|aurai",
)
