"""The phrases of prompt injections in Czech, Polish, Russian and Ukrainian."""

# ruff: noqa: E501, RUF001  (tables of words, in scripts whose letters look like Latin ones)

from __future__ import annotations

from typing import Final

from tidegate.rails.rules.phrases.grammar import HIGH, IGNORE, JAILBREAK, LEAK, MEDIUM, Phrase, Phrasebook

_PHRASES: Final = (
    Phrase(IGNORE, HIGH, "ignore! fill* your? earlier fill* orders"),
    Phrase(IGNORE, HIGH, "ignore! fill* your? orders fill* earlier"),
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

RUSSIAN: Final = Phrasebook(
    "ru",
    {
        "ignore": "игнорируй,игнорируйте,проигнорируй,проигнорируйте,забудь,забудьте,не обращай внимания на,"
        "не обращайте внимания на,не следуй,не следуйте,отбрось,отбросьте,обойди,обойдите,нарушь,перестань выполнять,"
        "не учитывай,не учитывайте,пренебреги,отмени,отмените,не выполняй",
        "fill": "все,всё,всех,всеми,эти,этим,и,или,про,о,об,пожалуйста,мне,нам,на,в,полностью,свой,своей,каков,какая,какие,"
        "были,был,дан,даны,тебе,вам,сейчас,любые,других,другие,остальные,точный,точные,полный,со,что,я",
        "earlier": "предыдущие,предыдущих,предыдущим,прошлые,прежние,прежних,вышеуказанные,вышеприведенные,"
        "вышеприведённые,начальные,начальный,исходные,исходный,первоначальные,данные ранее,ранее данные,полученные ранее,"
        "выше,раньше,до этого,системные,скрытые,секретные,внутренние,этические",
        "orders": "инструкции,инструкций,инструкциям,указания,указаний,указаниям,команды,команд,правила,правил,правилам,"
        "директивы,директив,приказы,промпты,промпт,ограничения,ограничений,предписания,распоряжения,установки,запросы",
        "instructions": "инструкции,указания,команды,правила,директивы,предписания",
        "all": "все,все свои,все твои,все ваши",
        "your": "свои,своих,свой,твои,твоих,твой,ваши,ваших,ваш,своё,твоё,вашу,свою,твою",
        "strong": "инструкции,указания,правила безопасности,этические правила,ограничения,фильтры,директивы,"
        "программирование,этические принципы,этические нормы,установки,политики безопасности",
        "above_all": "все вышесказанное,всё вышесказанное,все что было выше,всё что было выше,все что я сказал,"
        "всё сказанное выше,вышесказанное",
        "reveal": "покажи,покажите,раскрой,раскройте,выведи,выведите,скажи,скажите,повтори,повторите,напечатай,напиши,"
        "напишите,сообщи,сообщите,поделись,назови,назовите,дай,опиши,перескажи,скопируй,переведи,процитируй,"
        "какой,какие,каков,каковы,открой",
        "secret": "системный промпт,системную подсказку,системное сообщение,системные инструкции,системный запрос,"
        "системные указания,скрытые инструкции,секретные инструкции,начальный промпт,исходный промпт,"
        "исходные инструкции,первоначальные инструкции,начальные инструкции,внутренние инструкции,скрытый промпт,"
        "системного промпта,системную инструкцию,системные правила",
        "verbatim": "слово в слово,дословно,без изменений",
        "be": "ты,вы,ты теперь,теперь ты,действуй как,веди себя как,притворись что ты,притворись,представь что ты,отвечай,"
        "отвечайте,играй роль,у тебя,у тебя теперь,у тебя больше",
        "without": "ии без,искусственный интеллект без,ассистент без,модель без,без каких либо,без всяких,без,"
        "нет никаких,нет,не имеешь никаких,свободен от,не ограничен",
        "limits": "ограничений,ограничения,правил,фильтров,цензуры,запретов,рамок,этических ограничений,моральных ограничений",
        "off": "отключи,отключите,выключи,сними,снимите,убери,обойди",
        "mode": "режим dan,режим джейлбрейка,режим без ограничений,режим разработчика включен,режим разработчика включён",
        "now": "отныне,с этого момента,с этой минуты",
    },
    _PHRASES,
)

UKRAINIAN: Final = Phrasebook(
    "uk",
    {
        "ignore": "ігноруй,ігноруйте,проігноруй,проігноруйте,забудь,забудьте,не звертай уваги на,не звертайте уваги на,"
        "не дотримуйся,відкинь,відкиньте,обійди,не враховуй,знехтуй,скасуй",
        "fill": "усі,всі,усе,все,ці,і,й,та,або,про,будь ласка,мені,нам,на,у,в,повністю,були,дані,тобі,вам,зараз,будь які,"
        "інші,точний,точні,повний,що,я",
        "earlier": "попередні,попередніх,минулі,колишні,вищенаведені,початкові,початковий,вихідні,первісні,надані раніше,"
        "вище,раніше,системні,приховані,секретні,внутрішні,етичні",
        "orders": "інструкції,інструкцій,вказівки,вказівок,команди,команд,правила,правил,директиви,накази,промпти,промпт,"
        "обмеження,обмежень,настанови,розпорядження",
        "instructions": "інструкції,вказівки,команди,правила,директиви,настанови",
        "all": "усі,всі,усі свої,всі свої,усі твої,всі твої",
        "your": "свої,свій,своїх,твої,твій,твоїх,ваші,ваш,вашу,свою,твою",
        "strong": "інструкції,вказівки,правила безпеки,етичні правила,обмеження,фільтри,директиви,етичні принципи,настанови",
        "above_all": "усе вищесказане,все вищесказане,усе що було вище,все що було вище",
        "reveal": "покажи,покажіть,розкрий,розкрийте,виведи,виведіть,скажи,скажіть,повтори,повторіть,надрукуй,напиши,"
        "напишіть,повідом,поділися,назви,дай,опиши,скопіюй,переклади,який,які",
        "secret": "системний промпт,системну підказку,системне повідомлення,системні інструкції,системний запит,"
        "системні вказівки,приховані інструкції,секретні інструкції,початковий промпт,початкові інструкції,"
        "первісні інструкції,внутрішні інструкції,прихований промпт,системного промпту",
        "verbatim": "слово в слово,дослівно,без змін",
        "be": "ти,ви,ти тепер,тепер ти,дій як,поводься як,прикинься що ти,уяви що ти,відповідай,у тебе,у тебе тепер",
        "without": "ші без,штучний інтелект без,асистент без,модель без,без жодних,без будь яких,без,немає жодних,немає",
        "limits": "обмежень,обмеження,правил,фільтрів,цензури,заборон,етичних обмежень",
        "off": "вимкни,вимкніть,зніми,зніміть,прибери,обійди",
        "mode": "режим dan,режим без обмежень,режим розробника увімкнено",
        "now": "відтепер,з цього моменту,віднині",
    },
    _PHRASES,
)

POLISH: Final = Phrasebook(
    "pl",
    {
        "ignore": "zignoruj,zignorujcie,ignoruj,ignorujcie,zapomnij,zapomnij o,pomiń,pomijaj,nie zwracaj uwagi na,"
        "nie stosuj się do,nie przestrzegaj,odrzuć,obejdź,zlekceważ,lekceważ,nie wykonuj,przestań przestrzegać,złam,"
        "unieważnij,nie bierz pod uwagę",
        "fill": "wszystkie,wszystkich,wszystko,wszelkie,te,tych,i,oraz,lub,o,proszę,mi,nam,na,w,całkowicie,jaki,jakie,jest,"
        "są,był,były,które,otrzymałeś,dostałeś,teraz,inne,dokładny,dokładne,pełny,pełną,pełne,cały,całą,treść,do,co,moje",
        "earlier": "poprzednie,poprzednich,wcześniejsze,wcześniejszych,powyższe,powyższych,dotychczasowe,dotychczasowych,"
        "początkowe,początkowy,pierwotne,pierwotny,oryginalne,otrzymane wcześniej,podane wcześniej,systemowe,ukryte,"
        "tajne,wewnętrzne,etyczne,domyślne",
        "orders": "instrukcje,instrukcji,polecenia,poleceń,wskazówki,wskazówek,wytyczne,wytycznych,zasady,zasad,reguły,"
        "reguł,rozkazy,komendy,dyrektywy,prompty,prompt,ograniczenia,ograniczeń,zalecenia",
        "instructions": "instrukcje,instrukcji,polecenia,poleceń,wytyczne,zasady,dyrektywy",
        "all": "wszystkie,wszystkich,wszystkie swoje,wszystkie twoje",
        "your": "swoje,swoich,swój,twoje,twoich,twój,wasze,swojego,twojego,swoją,twoją",
        "strong": "instrukcje,instrukcjach,wytyczne,zasady bezpieczeństwa,zasady etyczne,ograniczenia,filtry,programowanie,"
        "dyrektywy,zasadach,reguły",
        "above_all": "wszystko powyżej,wszystko co powyżej,wszystko co zostało powiedziane,to co powyżej",
        "reveal": "pokaż,pokażcie,ujawnij,wyświetl,wypisz,powiedz,podaj,powtórz,wydrukuj,udostępnij,zdradź,napisz,jaki jest,"
        "jakie są,jaka jest,jaki był,jakie były,skopiuj,przetłumacz,opisz,zacytuj,daj,odsłoń",
        "secret": "prompt systemowy,prompt systemu,promptu systemowego,wiadomość systemową,komunikat systemowy,"
        "instrukcje systemowe,ukryte instrukcje,tajne instrukcje,początkowy prompt,pierwotny prompt,początkowe instrukcje,"
        "pierwotne instrukcje,oryginalne instrukcje,wewnętrzne instrukcje,ukryty prompt,polecenia systemowe,"
        "systemowy prompt",
        "verbatim": "słowo w słowo,dosłownie,co do słowa",
        "be": "jesteś,jesteś teraz,teraz jesteś,zachowuj się jak,działaj jako,udawaj,udawaj że jesteś,odpowiadaj,odpowiedz,"
        "wyobraź sobie że jesteś,nie masz,nie masz już,wciel się w",
        "without": "ai bez,sztuczną inteligencją bez,asystentem bez,modelem bez,bez żadnych,bez jakichkolwiek,bez,żadnych,"
        "wolny od,wolną od",
        "limits": "ograniczeń,ograniczenia,zasad,reguł,filtrów,cenzury,limitów,zahamowań",
        "off": "wyłącz,dezaktywuj,usuń,zdejmij,obejdź",
        "mode": "tryb dan,tryb jailbreak,tryb bez ograniczeń,tryb programisty włączony",
        "now": "od teraz,od tej chwili,od tego momentu",
    },
    _PHRASES,
)

CZECH: Final = Phrasebook(
    "cs",
    {
        "ignore": "ignoruj,ignorujte,zapomeň,zapomeň na,zapomeňte,zapomeňte na,nevšímej si,nevšímejte si,neřiď se,neřiďte se,"
        "přehlížej,opomeň,obejdi,obejděte,nedodržuj,nedbej,přestaň dodržovat,zahoď,zruš",
        "fill": "všechny,všech,všechno,veškeré,ty,tyto,těchto,a,nebo,prosím,mi,nám,na,jaký,jaké,je,jsou,byl,byly,které,jsi,"
        "dostal,nyní,teď,úplně,ostatní,přesný,přesné,celý,celé,úplný,o,v,se,co",
        "earlier": "předchozí,předchozích,předešlé,předešlých,předcházející,dřívější,dřívějších,výše uvedené,uvedené výše,"
        "původní,původních,počáteční,výchozí,systémové,skryté,tajné,interní,etické",
        "orders": "instrukce,instrukcí,pokyny,pokynů,příkazy,příkazů,pravidla,pravidel,směrnice,směrnic,prompty,prompt,"
        "omezení,nařízení,rozkazy,zadání",
        "instructions": "instrukce,pokyny,příkazy,pravidla,směrnice",
        "all": "všechny,veškeré,všechny své,všechny tvé,všechny svoje",
        "your": "své,svůj,svých,svoje,tvé,tvůj,tvoje,vaše,svá,tvá",
        "strong": "instrukce,pokyny,bezpečnostní pravidla,etická pravidla,omezení,filtry,směrnice,programování",
        "above_all": "vše výše,všechno výše,vše výše uvedené,vše co bylo řečeno",
        "reveal": "ukaž,ukažte,odhal,odhalte,zobraz,zobrazte,vypiš,vypište,řekni,řekněte,zopakuj,opakuj,vytiskni,sdílej,"
        "prozraď,napiš,jaký je,jaké jsou,jaký byl,zkopíruj,přelož,popiš,dej,sděl",
        "secret": "systémový prompt,systémovou zprávu,systémové instrukce,systémové pokyny,skryté instrukce,tajné instrukce,"
        "skryté pokyny,tajné pokyny,původní prompt,počáteční prompt,původní instrukce,původní pokyny,interní instrukce,"
        "interní pokyny,skrytý prompt,systémového promptu",
        "verbatim": "slovo od slova,doslova,doslovně",
        "be": "jsi,jsi nyní,jsi teď,nyní jsi,teď jsi,chovej se jako,jednej jako,předstírej že jsi,odpovídej,"
        "představ si že jsi,nemáš,nemáš už,hraj roli",
        "without": "umělá inteligence bez,ai bez,asistent bez,model bez,bez jakýchkoli,bez jakýchkoliv,bez,žádná,žádné",
        "limits": "omezení,pravidel,pravidla,filtrů,filtry,cenzury,limitů,hranic",
        "off": "vypni,deaktivuj,odstraň,zruš,obejdi",
        "mode": "režim dan,režim jailbreak,režim bez omezení,vývojářský režim zapnut",
        "now": "od teď,od této chvíle,odteď,od nynějška",
    },
    _PHRASES,
)

SLAVIC: Final = (RUSSIAN, UKRAINIAN, POLISH, CZECH)
