"""The phrases of prompt injections in Dutch, German and Swedish."""

# ruff: noqa: E501  (tables of words)

from __future__ import annotations

from typing import Final

from tidegate.rails.rules.phrases.grammar import HIGH, IGNORE, JAILBREAK, LEAK, MEDIUM, Phrase, Phrasebook

_PHRASES: Final = (
    Phrase(IGNORE, HIGH, "ignore! fill* your? earlier fill* orders"),
    Phrase(IGNORE, HIGH, "ignore! fill* orders fill* earlier"),
    Phrase(IGNORE, HIGH, "ignore! fill* your earlier* strong"),
    Phrase(IGNORE, HIGH, "ignore! all fill* instructions"),
    Phrase(IGNORE, MEDIUM, "ignore! fill* orders"),
    Phrase(IGNORE, MEDIUM, "ignore! fill* above_all"),
    Phrase(IGNORE, HIGH, "all! earlier* instructions ignore_end"),
    Phrase(LEAK, HIGH, "reveal fill* your earlier* secret!"),
    Phrase(LEAK, HIGH, "reveal fill* your fill* orders fill* verbatim!"),
    Phrase(LEAK, MEDIUM, "reveal fill* secret!"),
    Phrase(LEAK, MEDIUM, "your secret!"),
    Phrase(JAILBREAK, HIGH, "be fill* without! limits"),
    Phrase(JAILBREAK, HIGH, "off! fill* your fill* limits"),
    Phrase(JAILBREAK, MEDIUM, "mode!"),
    Phrase(JAILBREAK, MEDIUM, "now! be"),
)

GERMAN: Final = Phrasebook(
    "de",
    {
        "ignore": "ignoriere,ignorieren sie,ignorier,ignoriert,vergiss,vergessen sie,vergesst,missachte,missachten sie,"
        "beachte nicht,verwirf,verwerfen sie,umgehe,umgehen sie,übergehe,befolge nicht,befolge nicht länger,verletze,"
        "lass außer acht,lassen sie außer acht,überschreibe,vernachlässige,vernachlässigen sie,setze außer kraft,"
        "setz dich über,halte dich nicht an,hör auf,setze aus,lege ab,lass beiseite,kümmere dich nicht um,gib auf",
        "ignore_end": "ignorieren,vergessen,missachten,nicht beachten,verwerfen,außer acht lassen,umgehen",
        "fill": "alle,allen,aller,alles,sämtliche,jegliche,die,der,das,den,dem,des,diese,diesen,dieser,und,oder,bitte,"
        "mir,uns,von,aus,über,an,was,wie,lauten,lautet,sind,ist,waren,war,sofort,jetzt,nun,komplett,vollständig,"
        "vollständigen,genauen,genaue,exakten,exakte,gesamten,gesamte,meine,anderen,andere,bisher,gegeben,wurden,dir,"
        "ihnen,einfach,zu,für,vorübergehend,temporär",
        "earlier": "vorherigen,vorherige,vorheriger,vorigen,vorige,bisherigen,bisherige,früheren,frühere,obigen,obige,"
        "vorangegangenen,vorangegangene,vorangehenden,ursprünglichen,ursprüngliche,anfänglichen,oben genannten,"
        "obenstehenden,vorhergehenden,vorhergehende,zuvor,von oben,internen,interne,geheimen,geheime,versteckten,"
        "normalen,üblichen,standardmäßigen,ethischen,vorgegebenen,typischen,programmierten,grundlegenden,eigentlichen",
        "orders": "anweisungen,anweisung,instruktionen,anordnungen,befehle,befehl,vorgaben,regeln,richtlinien,direktiven,"
        "aufforderungen,prompts,prompt,einschränkungen,beschränkungen,systemanweisungen,systemprompt,eingaben,"
        "verhaltensregeln,programmierung,protokolle,leitlinien,hinweise",
        "instructions": "anweisungen,instruktionen,befehle,vorgaben,regeln,richtlinien,direktiven,systemanweisungen",
        "all": "alle,sämtliche,alle deine,alle ihre",
        "your": "deine,deinen,deiner,dein,deinem,ihre,ihren,ihrer,ihr,ihrem,eure",
        "strong": "anweisungen,instruktionen,richtlinien,programmierung,sicherheitsregeln,sicherheitsrichtlinien,"
        "ethischen richtlinien,ethischen grundsätze,einschränkungen,beschränkungen,filter,inhaltsrichtlinien,direktiven,"
        "vorgaben,systemanweisungen,verhaltensregeln,leitlinien,betriebsstandards,sicherheitsvorkehrungen,"
        "sicherheitsprotokolle,grundprinzipien,systemvorgaben,standardprotokolle,verarbeitungsroutinen",
        "above_all": "alles obige,alles bisherige,alles davor,alles was oben,alles was ich gesagt,alles vorherige,das obige",
        "reveal": "zeige,zeig,zeigen sie,verrate,verrat,verraten sie,nenne,nenn,nennen sie,gib,geben sie,wiederhole,"
        "wiederholen sie,drucke,offenbare,offenbaren sie,enthülle,enthüllen sie,teile,schreibe,schreib,sage,sag,was ist,"
        "was sind,was war,was steht in,wie lautet,wie lauten,lege offen,kopiere,übersetze,beschreibe,präsentiere,"
        "kannst du,könntest du,zitiere,gebe",
        "secret": "systemprompt,systemprompts,system prompt,systemanweisung,systemanweisungen,systemnachricht,initialprompt,"
        "initialen prompt,ursprünglichen prompt,ursprünglichen anweisungen,versteckten anweisungen,versteckten prompt,"
        "geheimen anweisungen,geheimen prompt,internen anweisungen,internen richtlinien,systeminstruktionen,"
        "anfangsprompt,startprompt,grundlegenden prompt,ursprüngliche anweisung,systemvorgaben,internen prompt",
        "verbatim": "wortwörtlich,wort für wort,wörtlich,im wortlaut,eins zu eins",
        "be": "du bist,sie sind,du bist jetzt,du bist nun,verhalte dich wie,handle als,agiere als,spiele,tu so als wärst du,"
        "tu so als ob du,stell dir vor du bist,antworte,antworten sie,gib vor,sei,du hast,du hast jetzt",
        "without": "eine ki ohne,ein assistent ohne,ein modell ohne,eine künstliche intelligenz ohne,ein chatbot ohne,ohne,"
        "ohne jegliche,ohne jede,ohne irgendwelche,keine,keinerlei,frei von",
        "limits": "einschränkungen,einschränkung,beschränkungen,beschränkung,regeln,filter,grenzen,zensur,"
        "inhaltsrichtlinien,ethische richtlinien,restriktionen,moralische grenzen",
        "off": "deaktiviere,deaktivieren sie,schalte,hebe,entferne,umgehe",
        "mode": "dan modus,jailbreak modus,entwicklermodus aktiviert,uneingeschränkten modus,modus ohne einschränkungen,"
        "dan schnittstelle",
        "now": "ab jetzt,ab sofort,von nun an,von jetzt an",
        "you_have": "hast du,haben sie,gelten für dich,gibt es für dich",
    },
    (*_PHRASES, Phrase(JAILBREAK, HIGH, "now! you_have without limits")),
)

DUTCH: Final = Phrasebook(
    "nl",
    {
        "ignore": "negeer,negeert u,negeren,vergeet,sla over,verwerp,omzeil,volg niet langer,volg niet,let niet op,"
        "stop met het volgen van,houd geen rekening met,hou geen rekening met,laat varen,overschrijf,schend",
        "ignore_end": "negeren,vergeten,overslaan,omzeilen",
        "fill": "alle,al,alles,de,het,deze,die,dat,en,of,alsjeblieft,alstublieft,mij,me,ons,van,wat,zijn,is,waren,was,nu,"
        "volledig,volledige,exacte,compleet,in,aan,tot,gegeven,andere,hele,toe,voor,tijdelijk",
        "earlier": "vorige,voorgaande,eerdere,bovenstaande,voorafgaande,oorspronkelijke,initiële,originele,eerder gegeven,"
        "hierboven,van hierboven,verborgen,geheime,interne,standaard,gebruikelijke,ethische",
        "orders": "instructies,instructie,aanwijzingen,opdrachten,opdracht,richtlijnen,regels,bevelen,commando's,prompts,"
        "prompt,beperkingen,voorschriften,programmering,protocollen",
        "instructions": "instructies,aanwijzingen,richtlijnen,opdrachten,regels",
        "all": "alle,al je,al jouw,al uw",
        "your": "je,jouw,uw,jullie",
        "strong": "instructies,richtlijnen,programmering,veiligheidsregels,veiligheidsrichtlijnen,ethische richtlijnen,"
        "beperkingen,filters,inhoudsbeleid,training,gedragsregels",
        "above_all": "alles hierboven,al het bovenstaande,het bovenstaande,alles wat ik zei,alles daarvoor",
        "reveal": "toon,laat zien,laat,onthul,geef,vertel,herhaal,print,deel,openbaar,schrijf,wat is,wat zijn,wat was,"
        "wat waren,kopieer,vertaal,beschrijf,citeer",
        "secret": "systeemprompt,systeem prompt,system prompt,systeeminstructies,systeembericht,initiële prompt,"
        "oorspronkelijke instructies,verborgen instructies,geheime instructies,verborgen prompt,interne instructies,"
        "oorspronkelijke prompt,geheime prompt,interne richtlijnen",
        "verbatim": "woord voor woord,letterlijk",
        "be": "je bent,u bent,jij bent,je bent nu,gedraag je als,doe alsof je,antwoord,stel je voor dat je,speel,"
        "handel als,je hebt,je hebt nu",
        "without": "een ai zonder,een assistent zonder,een model zonder,zonder enige,zonder,geen enkele,geen,vrij van",
        "limits": "beperkingen,beperking,restricties,regels,filters,filter,grenzen,censuur,richtlijnen",
        "off": "schakel,deactiveer,verwijder,omzeil,hef",
        "mode": "dan modus,jailbreak modus,ontwikkelaarsmodus ingeschakeld,onbeperkte modus",
        "now": "vanaf nu,van nu af aan",
    },
    _PHRASES,
)

SWEDISH: Final = Phrasebook(
    "sv",
    {
        "ignore": "ignorera,bortse från,glöm,glöm bort,strunta i,följ inte,kringgå,åsidosätt,förbise,sluta följa,"
        "överge,lämna",
        "ignore_end": "ignoreras,ignorera",
        "fill": "alla,allt,de,den,det,dessa,dina,mina,och,eller,snälla,vänligen,mig,oss,av,från,om,som,är,var,nu,helt,"
        "fullständiga,exakta,hela,du,fått,har,givits,andra,i,för,ditt",
        "earlier": "tidigare,föregående,ovanstående,förra,ursprungliga,initiala,ovan,dolda,hemliga,interna,vanliga,etiska",
        "orders": "instruktioner,instruktionerna,instruktion,anvisningar,anvisningarna,direktiv,direktiven,regler,reglerna,"
        "order,kommandon,prompter,riktlinjer,riktlinjerna,begränsningar,begränsningarna,uppmaningar",
        "instructions": "instruktioner,instruktionerna,anvisningar,regler,riktlinjer,direktiv",
        "all": "alla,alla dina,alla de",
        "your": "dina,din,ditt,era,er",
        "strong": "instruktioner,riktlinjer,programmering,säkerhetsregler,begränsningar,filter,träning,direktiv",
        "above_all": "allt ovan,allt ovanstående,allt som sagts,allt jag sagt",
        "reveal": "visa,avslöja,berätta,upprepa,skriv ut,skriv,ge,dela,vad är,vilka är,vad var,kopiera,översätt,beskriv",
        "secret": "systemprompt,systemprompten,system prompt,systeminstruktioner,systeminstruktionerna,systemmeddelande,"
        "dolda instruktioner,hemliga instruktioner,ursprungliga instruktioner,ursprungliga prompt,interna instruktioner",
        "verbatim": "ord för ord,ordagrant",
        "be": "du är,du är nu,agera som,låtsas vara,låtsas att du är,svara,uppträd som,föreställ dig att du är,du har",
        "without": "en ai utan,en assistent utan,en modell utan,utan några,utan,inga,fri från",
        "limits": "begränsningar,restriktioner,regler,filter,gränser,censur,riktlinjer",
        "off": "inaktivera,stäng av,ta bort,kringgå",
        "mode": "dan läge,jailbreak läge,utvecklarläge aktiverat,obegränsat läge",
        "now": "från och med nu,hädanefter",
    },
    _PHRASES,
)

GERMANIC: Final = (GERMAN, DUTCH, SWEDISH)
