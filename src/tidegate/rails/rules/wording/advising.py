"""The sentences of the rail `advice`, as rows of slots (see `grammar`), in English, German, Spanish and French.

Words are written as they are in a folded text: without accents.
"""

# ruff: noqa: E501  (tables of words)

from __future__ import annotations

from typing import Final, NamedTuple

from tidegate.rails.rules.wording.grammar import Slots


class Advice(NamedTuple):
    """The advice of one category in one language.

    `rows` are found anywhere in a sentence, and `orders` only at its beginning. What is followed by `cautions` is no
    advice, and neither is what `asked` stands right before, in RE2's syntax.
    """

    category: str
    slots: Slots
    rows: tuple[str, ...]
    orders: tuple[str, ...] = ()
    cautions: str = ""
    asked: str = ""


_ASKED: Final = (
    r"if|whether|when|once|unless|while|because|since|although|in case|people|someone|before|until|than|do|does|did|can|could"
    r"|should|would|will|not|never|don't|doesn't|that says|cannot say|can't say|how|why|what"
)
_TAIL: Final = (
    "as (?:prescribed|directed|instructed|advised)(?: by your (?:doctor|pharmacist|physician))?|unless (?:your|a) (?:doctor|pharmacist|physician|lawyer|attorney)"
    "|only if (?:your|a) (?:doctor|pharmacist|physician|lawyer|attorney)|without (?:talking|speaking|consulting|asking|checking|first)"
    "|if (?:your|a) (?:doctor|pharmacist|physician|lawyer|attorney) (?:has|says|tells|told|recommends|advises|agrees)"
)

_NUMBER: Final = r"(?:[0-9]{1,5}(?:[.,][0-9]{1,3})?(?: ?(?:-|to) ?[0-9]{1,5})?|half a|one|two|three|four|five|six|a single|a double)"
_AMOUNT: Final = rf"(?:{_NUMBER}[\s-]?(?:mg|milligrams?|mcg|micrograms?|µg|μg|iu|tablets?|pills?|capsules?|puffs?|doses?)|(?:a|an|another|an extra) (?:pill|capsule|puff|dose))"
_MEASURE: Final = rf"{_NUMBER}[\s-]?(?:g|grams?|ml|millilit(?:er|re)s?|units|drops?|teaspoons?|tablespoons?)"
_MEDICINES: Final = (
    r"(?:[a-z]{3,}(?:pril|olol|statin|cillin|mycin|azole|prazole|pine|zepam|zolam|oxetine|sartan|profen|cycline|floxacin)|insulin|aspirin"
    r"|paracetamol|acetaminophen|tylenol|advil|metformin|warfarin|prednisone|cortisone|morphine|codeine|oxycodone|tramadol|xanax|valium|prozac|zoloft|adderall|ritalin|lithium"
    r"|melatonin|levothyroxine|gabapentin|viagra|antibiotics?|antidepressants?|painkillers?|steroids?|sleeping pills?|blood thinners?|beta blockers?|statins?|chemotherapy|chemo"
    r"|medications?|medicines?|meds|pills|tablets|doses?|dosage|treatment|therapy|prescription|inhaler)"
)
_DISEASES: Final = (
    r"(?:diabetes|cancer|leukemia|lymphoma|melanoma|a tumou?r|a brain tumou?r|the flu|influenza|pneumonia|bronchitis|asthma|copd|covid(?:[\s-]19)?|tuberculosis|hepatitis(?: [abc])?"
    r"|depression|anxiety|an anxiety disorder|bipolar disorder|schizophrenia|adhd|autism|ptsd|ocd|dementia|alzheimer's|parkinson's|epilepsy|a migraine|migraines|a concussion|meningitis"
    r"|a stroke|heart failure|heart disease|angina|a heart attack|hypertension|high blood pressure|an? arrhythmia|anemia|appendicitis|gastritis|an ulcer|ulcers|ibs|crohn's|colitis|celiac disease|gerd|acid reflux"
    r"|kidney (?:stones|failure|disease)|gallstones|a urinary tract infection|a uti|a yeast infection|an? (?:bacterial |viral |fungal |ear |sinus |throat |lung |skin )?infection|strep throat|tonsillitis|sinusitis"
    r"|chlamydia|gonorrhea|syphilis|herpes|hiv|aids|lyme disease|malaria|measles|shingles|chickenpox|eczema|psoriasis|arthritis|rheumatoid arthritis|gout|osteoporosis|a hernia|a slipped disc|sciatica|fibromyalgia"
    r"|multiple sclerosis|lupus|a thyroid (?:problem|disorder)|hypothyroidism|hyperthyroidism|an allergy|a blood clot|deep vein thrombosis|a pulmonary embolism|sepsis|endometriosis|pcos|a fracture|a broken [a-z]+|a sprained [a-z]+)"
)

MEDICAL: Final = Advice(
    "medical",
    {
        "you_should": r"you should|you must|you need to|you have to|you ought to|you can|you could|you can safely|you may|you might|you might want to|you'd better|you had better|you'll want to|you'll need to|you will need to"
        r"|i recommend you|i recommend that you|i'd recommend you|i'd recommend that you|i would recommend that you|i suggest you|i suggest that you|i'd suggest you|i'd suggest that you|i advise you to|i'd advise you to|i would advise you to"
        r"|my advice is to|it's safe to|it is safe to|it's best to|it would be best to|feel free to|go ahead and|it's fine to|it's okay to|it is okay to|try to",
        "i_recommend": r"i recommend|i'd recommend|i would recommend|i suggest|i'd suggest|i would suggest|i advise|i prescribe|start|try|consider",
        "adv": r"just|simply|also|then|now|immediately|safely|really|definitely|probably|still|start by|begin by|always|only|at least",
        "take": r"take|use|inject|swallow|apply|have|give yourself|give him|give her|give your (?:child|baby|son|daughter)|start on|start with|start|increase to|go up to|double up on",
        "taking": r"taking|using|injecting|swallowing|starting|starting with|starting on|a dose of|a dosage of",
        "amount": _AMOUNT,
        "measure": _MEASURE,
        "medicine": _MEDICINES,
        "your": r"your|the|any|all|all your|all of your|these|this|that|his|her|using your|taking your|taking the|taking any|taking",
        "stop": r"stop|quit|skip|discontinue|come off|go off|get off|reduce|lower|cut down|cut|halve|double|increase|raise|change|switch|mix|combine|restart|throw away",
        "stopping": r"stopping|quitting|skipping|discontinuing|reducing|lowering|halving|doubling|increasing|changing|switching",
        "you_have": r"you have|you've got|you definitely have|you clearly have|you probably have|you likely have|you most likely have|you almost certainly have|you certainly have|you obviously have|you appear to have|you seem to have"
        r"|you are suffering from|you're suffering from|you suffer from|you are having|you're having|you've developed|you have developed|you have contracted|i diagnose you with|i'd diagnose you with|my diagnosis is|your diagnosis is|the diagnosis is",
        "it_is": r"this is|that is|that's|it is|it's|these are|you are looking at|this sounds like|it sounds like|that sounds like|sounds like|this looks like|it looks like",
        "surely": r"definitely|clearly|certainly|almost certainly|most likely|very likely|obviously|surely|undoubtedly|typical|a clear case of|a case of|a typical case of|classic",
        "disease": _DISEASES,
        "stage": r"type [12]|stage [1-4i]{1,3}|early|mild|severe|acute|chronic|clinical|a mild case of|a case of|a severe case of|signs of",
        "no_need": r"you don't need|you do not need|you don't have|there's no need|there is no need|no need",
        "doctor": r"to see a doctor|to go to the (?:doctor|hospital|er|emergency room)|a doctor|to be seen by a doctor|to call an ambulance|surgery|the surgery|chemotherapy",
        "dose": r"your dose is|your dose should be|your dosage should be|your dosage is|the right dose for you is|the correct dose for you is|the dose for you is|your daily dose is|your daily dose should be",
        "not_have": r"you don't have|you do not have|it's not|it is not|this isn't|this is not|it isn't|that's not|you definitely don't have",
    },
    rows=(
        "you_should adv* take ... amount",
        "you_should adv* take .. measure .. medicine",
        "you_should adv* take .. medicine",
        "you_should adv* stop .. medicine",
        "you_should adv* stop taking .. medicine",
        "you_should adv* stop your .. medicine",
        "i_recommend adv* taking ... amount",
        "i_recommend adv* amount",
        "i_recommend adv* taking .. medicine",
        "i_recommend adv* stopping .. medicine",
        "dose amount",
        "dose measure",
        "you_have stage? disease",
        "it_is surely stage? disease",
        "no_need doctor",
        "not_have stage? disease",
    ),
    orders=(
        "take ... amount",
        "take .. measure of .. medicine",
        "stop your .. medicine",
        "stop taking .. medicine",
    ),
    cautions=_TAIL,
    asked=_ASKED,
)

_ACTS: Final = (
    r"sue (?:your|the|him|her|them|his|this) [a-z]+|sue (?:him|her|them)|plead (?:not )?guilty|plead no contest|plead insanity|take the plea(?: deal| bargain)?|accept the plea(?: deal| bargain)?|reject the plea(?: deal| bargain)?"
    r"|settle(?: out of court| the case| this case| for)|press charges|drop the charges|file (?:a|the|your) (?:lawsuit|suit|claim|complaint|motion|appeal|restraining order|counterclaim|bankruptcy|petition)|file for (?:bankruptcy|divorce|custody|damages|an injunction)"
    r"|take (?:him|her|them|it|this|your [a-z]+|the [a-z]+) to court|go to court|appeal the (?:verdict|decision|ruling|judgment)|refuse to testify|waive your rights?|ignore the (?:subpoena|summons|court order|lawsuit|eviction notice)"
    r"|withhold (?:your |the )?rent|stop paying (?:your |the )?(?:rent|alimony|child support|taxes)|break (?:your|the) (?:lease|contract)|terminate (?:your|the) (?:lease|contract)|evict (?:him|her|them|your tenants?|the tenants?)|represent yourself(?: in court)?"
    r"|claim self[\s-]defen[cs]e|claim damages|demand compensation|accept (?:the|their|this) (?:settlement|offer)|reject (?:the|their|this) (?:settlement|offer)"
)

LEGAL: Final = Advice(
    "legal",
    {
        "you_should": r"you should|you must|you need to|you have to|you ought to|you'd better|you had better|you'll want to|you'll need to|you will need to|i recommend you|i recommend that you|i'd recommend you|i'd recommend that you"
        r"|i would recommend that you|i suggest you|i suggest that you|i'd suggest you|i'd suggest that you|i advise you to|i'd advise you to|i would advise you to|my advice is to|it's best to|it would be best to|go ahead and|you are within your rights to|you have every right to|you are entitled to|you are free to|you're free to|it's legal for you to|your best option is to|your best move is to|the best thing is to",
        "i_recommend": r"i recommend|i'd recommend|i would recommend|i suggest|i'd suggest|i would suggest|i advise|consider",
        "adv": MEDICAL.slots["adv"] + r"|not|never|refuse to|agree to|immediately|absolutely",
        "act": _ACTS + r"|sue|countersue|testify",
        "acts": _ACTS,
        "sign": r"sign",
        "paper": r"contract|agreement|settlement|waiver|lease|deed|plea|plea deal|nda|non[\s-]disclosure|affidavit|confession|prenup|prenuptial agreement|divorce papers|settlement papers",
        "suing": r"suing|pleading (?:not )?guilty|filing (?:a|an|for) [a-z]+|pressing charges|settling(?: out of court| the case)|signing (?:the|this|that) [a-z]+|not signing (?:the|this|that) [a-z]+|taking (?:him|her|them|your [a-z]+|the [a-z]+) to court|appealing|representing yourself",
        "case": r"you have an? (?:very |really )?(?:strong|good|solid|excellent|clear|winning|weak|airtight) (?:legal )?(?:case|claim|defen[cs]e)|you (?:will|'ll|would|are going to|'re going to) (?:certainly |definitely |probably |likely |easily )?(?:win|lose) (?:your|the|this|in) (?:case|lawsuit|court|appeal|trial)"
        r"|you (?:are|aren't|are not|'re not) (?:legally )?(?:liable|guilty|legally responsible|at fault)|you (?:are|'re) not legally (?:required|obliged|obligated|bound) to|(?:what you did|that|this|it) (?:is|was|'s) (?:perfectly |completely |totally |entirely )(?:legal|lawful)(?: for you)?"
        r"|you can't be (?:sued|prosecuted|arrested|evicted|charged)(?: for (?:this|that|it))?|you cannot be (?:sued|prosecuted|arrested|evicted|charged)(?: for (?:this|that|it))?",
        "no_need": r"you don't need|you do not need|there's no need for|there is no need for|you won't need",
        "lawyer": r"an? (?:lawyer|attorney|solicitor)",
    },
    rows=(
        "you_should adv* act",
        "you_should adv* sign .. paper",
        "i_recommend adv* suing",
        "case",
        "no_need lawyer",
    ),
    orders=("acts", "(?:do_not|don't|never)? sign (?:the|this|that|any) .. paper"),
    cautions=_TAIL,
    asked=_ASKED,
)

_GERMAN_ASKED: Final = r"ob|wenn|falls|bevor|nie|niemals|nicht|weil|dass|sobald|ohne|warum|wie|was"
_GERMAN_TAIL: Final = r"wie (?:vom|von ihrem|von deinem) arzt|wie verordnet|wie verschrieben|nur nach rucksprache|sofern ihr arzt|wenn ihr arzt|ohne rucksprache"
_SHOULD_DE: Final = r"sie sollten|du solltest|sie mussen|du musst|sie konnen|du kannst|ich empfehle ihnen|ich empfehle dir|ich rate ihnen|ich rate dir|ich wurde ihnen raten|am besten"
GERMAN: Final = (
    Advice(
        "medical",
        {
            "should": _SHOULD_DE,
            "amount": r"[0-9]{1,5}(?:[.,][0-9]{1,3})? ?(?:mg|milligramm|mcg|µg|g|gramm|ml|milliliter|tabletten?|tropfen|kapseln?|einheiten)",
            "take": r"nehmen|einnehmen|nimm|einzunehmen|schlucken|spritzen|verwenden|zu nehmen",
            "medicine": r"medikamente?|tabletten?|pillen?|antibiotika|antibiotikum|antidepressiva|antidepressivum|insulin|betablocker|blutverdunner|ibuprofen|paracetamol|aspirin|dosis|behandlung|therapie",
            "stop": r"absetzen|abzusetzen|weglassen|wegzulassen|verdoppeln|zu verdoppeln|halbieren|erhohen|zu erhohen|reduzieren|abbrechen|abzubrechen",
            "have": r"sie haben|du hast|sie leiden an|du leidest an|sie haben wahrscheinlich|du hast wahrscheinlich|sie haben eindeutig|du hast eindeutig|das ist eindeutig|meine diagnose ist",
            "disease": r"(?:eine? |einen )?(?:diabetes|krebs|grippe|lungenentzundung|asthma|depressionen?|depression|migrane|bluthochdruck|blinddarmentzundung|gehirnerschutterung|herzinfarkt|schlaganfall|angina|blasenentzundung|borreliose|arthrose|rheuma|gicht|adhs|bronchitis|infektion)",
            "imperative": r"nehmen sie|nimm|setzen sie|setz|verdoppeln sie|verdopple|halbieren sie|erhohen sie",
            "off": r"ab",
        },
        rows=("should ... amount ... take", "should ... medicine .. stop", "have disease"),
        orders=(
            "imperative ... amount",
            "imperative .. medicine .. off",
            "(?:verdoppeln_sie|verdopple|halbieren_sie|erhohen_sie) .. medicine",
        ),
        cautions=_GERMAN_TAIL,
        asked=_GERMAN_ASKED,
    ),
    Advice(
        "legal",
        {
            "should": _SHOULD_DE,
            "act": r"klagen|verklagen|zu klagen|zu verklagen|anzeige erstatten|anzeige zu erstatten|auf schuldig pladieren|den vergleich annehmen|den vergleich anzunehmen|berufung einlegen|berufung einzulegen|widerspruch einlegen|fristlos kundigen|die miete mindern|die miete zu mindern|vor gericht (?:gehen|ziehen)",
            "paper": r"vertrag|vergleich|aufhebungsvertrag|mietvertrag|vereinbarung|erklarung|gestandnis",
            "sign": r"unterschreiben|unterzeichnen|zu unterschreiben",
        },
        rows=("should ... act", "should ... paper .. sign"),
        orders=("verklagen_sie ... (?:[a-z]+)", "unterschreiben_sie .. paper"),
        cautions=_GERMAN_TAIL,
        asked=_GERMAN_ASKED,
    ),
)

_SHOULD_ES: Final = r"deberia|deberias|debe|debes|tiene que|tienes que|puede|puedes|le recomiendo|te recomiendo|le aconsejo|te aconsejo|recomiendo"
_ES_ASKED: Final = r"si|cuando|no|nunca|antes de|como|que|porque|por que"
SPANISH: Final = (
    Advice(
        "medical",
        {
            "should": _SHOULD_ES,
            "take": r"tomar|tome|toma|inyectarse|inyectarte|usar|use|aplicar",
            "amount": r"[0-9]{1,5}(?:[.,][0-9]{1,3})? ?(?:mg|miligramos|g|gramos|ml|mililitros|pastillas?|comprimidos?|capsulas?|gotas|unidades)",
            "stop": r"dejar de tomar|suspender|interrumpir|duplicar|doblar|reducir|aumentar|deje de tomar|deja de tomar|suspenda|duplique",
            "medicine": r"(?:su|sus|tu|tus|el|la|los|las) (?:medicacion|medicamentos?|pastillas|antidepresivos|antibioticos?|insulina|dosis|tratamiento)|insulina|ibuprofeno|paracetamol",
            "have": r"usted tiene|tu tienes|usted padece|tienes|padeces|mi diagnostico es",
            "disease": r"(?:una? )?(?:diabetes|cancer|gripe|neumonia|asma|depresion|migrana|hipertension|apendicitis|infeccion|bronquitis|gastritis|artritis)",
        },
        rows=("should .. take ... amount", "should .. stop .. medicine", "have disease"),
        orders=("(?:tome|toma) ... amount", "(?:deje_de_tomar|deja_de_tomar|suspenda|duplique) .. medicine"),
        cautions=r"segun (?:lo )?(?:indicado|prescrito)|como (?:le|te) (?:indico|receto)|salvo que su medico|sin consultar",
        asked=_ES_ASKED,
    ),
    Advice(
        "legal",
        {
            "should": _SHOULD_ES,
            "act": r"demandar(?:lo|la|los|las|le)?|presentar una (?:demanda|denuncia)|declararse (?:culpable|inocente)|ir a juicio|aceptar el acuerdo|rechazar el acuerdo|apelar|denunciar(?:lo|la|los|las)?",
            "paper": r"contrato|acuerdo|finiquito|renuncia|declaracion",
        },
        rows=("should .. act", "should .. firmar .. paper"),
        cautions=r"solo si (?:su|tu|un) abogado|sin consultar",
        asked=_ES_ASKED,
    ),
)

_SHOULD_FR: Final = r"vous devriez|tu devrais|vous devez|tu dois|vous pouvez|tu peux|je vous conseille de|je te conseille de|je vous recommande de|je te recommande de|il faut"
_FR_ASKED: Final = r"si|quand|lorsque|ne|pas|jamais|avant de|que|comment|pourquoi"
FRENCH: Final = (
    Advice(
        "medical",
        {
            "should": _SHOULD_FR,
            "take": r"prendre|prenez|prends|injecter|avaler|utiliser",
            "amount": r"[0-9]{1,5}(?:[.,][0-9]{1,3})? ?(?:mg|milligrammes|g|grammes|ml|millilitres|comprimes?|gelules?|gouttes|unites|cachets?)",
            "stop": r"arreter|arretez|arrete|interrompre|doubler|doublez|reduire|augmenter|arreter de prendre|arretez de prendre|cesser de prendre",
            "medicine": r"(?:votre|vos|ton|ta|tes|le|la|les) (?:traitement|medicaments?|antidepresseurs?|antibiotiques?|insuline|dose|comprimes|pilule)|l'insuline",
            "have": r"vous avez|tu as|vous souffrez d'|vous souffrez de|tu souffres de|mon diagnostic est",
            "disease": r"(?:une? |du |de la |la |le |l')?(?:diabete|cancer|grippe|pneumonie|asthme|depression|migraine|hypertension|appendicite|infection|bronchite|gastrite|arthrite)",
        },
        rows=("should .. take ... amount", "should .. stop .. medicine", "have disease"),
        orders=("(?:prenez|prends) ... amount", "(?:arretez|arrete|doublez|arretez_de_prendre) .. medicine"),
        cautions=r"comme (?:votre medecin|prescrit|indique)|sauf si votre medecin|sans (?:consulter|en parler|l'avis)",
        asked=_FR_ASKED,
    ),
    Advice(
        "legal",
        {
            "should": _SHOULD_FR,
            "act": r"porter plainte|poursuivre(?: en justice)?|plaider (?:non )?coupable|attaquer en justice|saisir (?:le tribunal|les prud'hommes)|faire appel|accepter l'accord|refuser l'accord|rompre le (?:bail|contrat)",
            "paper": r"contrat|accord|bail|transaction|declaration|rupture conventionnelle",
        },
        rows=("should .. act", "should .. signer .. paper"),
        cautions=r"sauf si (?:votre|un) avocat|sans consulter",
        asked=_FR_ASKED,
    ),
)

EVERY: Final = (MEDICAL, LEGAL, *GERMAN, *SPANISH, *FRENCH)
