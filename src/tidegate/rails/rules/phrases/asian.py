"""The phrases of prompt injections in Arabic, Chinese, Hindi, Indonesian, Japanese, Korean and Turkish."""

# ruff: noqa: E501, RUF001  (tables of words, in scripts whose letters look like Latin ones)

from __future__ import annotations

from typing import Final

from tidegate.rails.rules.phrases.grammar import HIGH, IGNORE, JAILBREAK, LEAK, MEDIUM, Phrase, Phrasebook

_VERB_FIRST: Final = (
    Phrase(IGNORE, HIGH, "ignore! fill* your? orders fill* earlier"),
    Phrase(IGNORE, HIGH, "ignore! fill* earlier fill* orders"),
    Phrase(IGNORE, HIGH, "ignore! fill* all fill* orders"),
    Phrase(IGNORE, HIGH, "ignore! fill* your strong"),
    Phrase(IGNORE, HIGH, "ignore! fill* strong your"),
    Phrase(IGNORE, MEDIUM, "ignore! fill* orders"),
    Phrase(LEAK, HIGH, "reveal fill* your fill* secret!"),
    Phrase(LEAK, HIGH, "reveal fill* secret! fill* your"),
    Phrase(LEAK, MEDIUM, "reveal fill* secret!"),
    Phrase(LEAK, MEDIUM, "your secret!"),
    Phrase(JAILBREAK, HIGH, "be fill* without! limits"),
    Phrase(JAILBREAK, MEDIUM, "mode!"),
)
_VERB_LAST: Final = (
    Phrase(IGNORE, HIGH, "earlier fill* orders fill* ignore!"),
    Phrase(IGNORE, HIGH, "all fill* orders fill* ignore!"),
    Phrase(IGNORE, HIGH, "your fill* strong fill* ignore!"),
    Phrase(IGNORE, MEDIUM, "orders fill* ignore!"),
    Phrase(LEAK, HIGH, "your fill* secret! fill* reveal"),
    Phrase(LEAK, MEDIUM, "secret! fill* reveal"),
    Phrase(JAILBREAK, HIGH, "without* limits! fill* be"),
    Phrase(JAILBREAK, MEDIUM, "mode!"),
)

CHINESE: Final = Phrasebook(
    "zh",
    {
        "ignore": "忽略,无视,無視,忘记,忘記,忘掉,不要理会,不要理會,不理会,不要遵守,不要遵循,忽视,忽視,抛开,拋開,跳过,绕过,繞過,"
        "违反,違反,覆盖,丢弃,放弃,停止遵守,停止遵循,别管,取消",
        "fill": "你,您,的,所有,全部,一切,任何,这些,這些,那些,我,给,給,了,并,並,和,以及,与,與,请,請,完全,将,把,现在,現在,"
        "上面,其他,收到,对,對,一下,出来,出來,完整,一字不差,告诉,原样,具体,全文,到,过,過,就是,在,中",
        "earlier": "之前,以前,先前,此前,前面,上面,上述,以上,早前,原有,原来,原來,原始,最初,初始,系统,系統,既有,上文,现有,預設,预设",
        "all": "所有,全部,一切,任何",
        "orders": "指令,指示,说明,說明,提示,提示词,提示詞,命令,规则,規則,要求,限制,指引,指南,约束,約束,准则,準則,设定,設定,规定",
        "your": "你的,您的,你,您",
        "strong": "指令,指示,系统提示,系統提示,安全准则,安全準則,安全规则,安全規則,内容政策,內容政策,道德准则,道德準則,限制,规则,"
        "編程,编程,训练,訓練,安全限制,道德限制,伦理准则",
        "reveal": "显示,顯示,告诉我,告訴我,透露,泄露,洩露,输出,輸出,打印,列印,展示,重复,重複,揭示,给我看,給我看,说出,說出,"
        "公开,公開,写出,寫出,分享,提供,复述,複述,翻译,翻譯,是什么,是什麼,什么是,列出,复制,發送,发送,出示",
        "secret": "系统提示词,系統提示詞,系统提示,系統提示,系统指令,系統指令,系统消息,系統訊息,初始提示,初始指令,原始指令,原始提示,"
        "隐藏指令,隱藏指令,隐藏提示,秘密指令,内部指令,內部指令,内部提示,提示词原文,隐藏的指令,隱藏的指令,秘密提示",
        "be": "你是,你现在是,你現在是,现在你是,現在你是,扮演,假装,假裝,你将,你將,你没有,你沒有,你将扮演,作为,作為,成为,成為,你现在,"
        "回答,从现在起你,從現在起你",
        "without": "一个没有任何,一個沒有任何,一个没有,一個沒有,一个不受,一個不受,没有任何,沒有任何,没有,沒有,不受任何,不受,无任何,"
        "任何,一个无,不再受任何,不再有任何",
        "limits": "限制,约束,約束,规则,規則,道德限制,审查,審查,过滤,過濾,伦理限制,内容限制,規範,规范,道德约束",
        "mode": "dan模式,越狱模式,越獄模式,无限制模式,無限制模式,已进入开发者模式,开发者模式已启用",
    },
    (*_VERB_FIRST, Phrase(LEAK, HIGH, "your fill* secret! fill* reveal")),
)

JAPANESE: Final = Phrasebook(
    "ja",
    {
        "ignore": "無視し,無視せよ,無視する,無視しろ,無視して,忘れて,忘れろ,忘れなさい,忘れ,従わないで,従うな,破棄し,取り消し,"
        "無効にし,無効化し,回避し",
        "fill": "を,は,の,に,と,や,も,すべて,全て,全部,完全に,ください,くれ,私,あなた,これら,それら,から,受けた,与えられた,"
        "今,一切,という,および,そして,など,で,一度,そのまま,正確に,全文",
        "earlier": "これまでの,これまで,以前の,以前,前の,上記の,上記,先ほどの,先程の,今までの,今まで,最初の,元の,既存の,従来の,"
        "事前の,上の,それまでの,前述の,システム",
        "all": "すべての,全ての,あらゆる,全部の,一切の",
        "orders": "指示,命令,指令,ルール,規則,プロンプト,制約,制限,ガイドライン,設定,指示事項,インストラクション",
        "your": "あなたの,君の,お前の,きみの,貴方の,自分の",
        "strong": "指示,ルール,ガイドライン,制約,制限,安全ガイドライン,倫理規定,プログラミング,コンテンツポリシー,フィルター",
        "reveal": "教えて,見せて,表示し,表示せよ,出力し,出力せよ,開示し,公開し,明かし,書き出し,繰り返し,示し,暴露し,教えろ,"
        "何ですか,とは,述べて,漏らし,印刷し,コピーし,翻訳し,書いて,言って",
        "secret": "システムプロンプト,システム指示,システムメッセージ,システム命令,初期プロンプト,初期指示,最初の指示,隠された指示,"
        "秘密の指示,元の指示,内部指示,隠しプロンプト,内部の指示,元のプロンプト,初期設定の指示",
        "be": "として,答えて,回答し,応答し,振る舞,ふるま,行動し,aiです,ai,アシスタント,演じて,なりきって",
        "without": "一切の,いかなる,何の,すべての,全ての,倫理的,あらゆる",
        "limits": "制限のない,制約のない,制限なし,制約なし,制限なく,制約なく,制限に縛られない,ルールに縛られない,制約を受けない,"
        "制限を受けない,制限もない,規制のない,フィルターなし",
        "mode": "danモード,脱獄モード,ジェイルブレイクモード,無制限モード,開発者モード有効",
    },
    _VERB_LAST,
)

KOREAN: Final = Phrasebook(
    "ko",
    {
        "ignore": "무시해,무시하,무시하고,무시하십시오,무시하세요,무시하라,잊어,잊고,잊으세요,잊어버려,따르지 마,따르지 말고,"
        "무효화,취소하,우회하,우회해,버리고",
        "fill": "을,를,은,는,이,가,의,에,와,과,및,그리고,모두,전부,다,완전히,제발,지금,나,내,저,에게,받은,주어진,모든,대해,"
        "그대로,정확히,전체,좀,한,도,까지,내용,들",
        "earlier": "이전의,이전,위의,앞의,앞선,지금까지의,기존의,기존,지난,이전에,처음의,최초의,원래의,원래,초기,앞서,위에 있는,시스템,"
        "지금까지",
        "all": "모든,전부,일체의,어떠한",
        "orders": "지시사항,지시,지침,명령,명령어,규칙,프롬프트,제한,제약,가이드라인,설정,안내,훈령",
        "your": "너의,네,당신의,귀하의,니,너는,당신은",
        "strong": "지시사항,지시,지침,규칙,가이드라인,제한,제약,안전 수칙,안전 지침,윤리 지침,프로그래밍,필터,콘텐츠 정책",
        "reveal": "보여,알려,공개해,공개하,출력해,출력하,말해,반복해,반복하,드러내,밝혀,표시해,표시하,인쇄해,적어,써,누설,"
        "무엇,뭐,복사해,번역해,공유해,노출",
        "secret": "시스템 프롬프트,시스템 지시,시스템 지침,시스템 메시지,시스템 명령,초기 프롬프트,초기 지시,초기 지침,숨겨진 지시,"
        "숨겨진 프롬프트,비밀 지시,원래 지시,내부 지침,내부 지시,원본 프롬프트,숨겨진 지침",
        "be": "인 ai,ai,ai로,인공지능,어시스턴트,답해,대답해,답변해,행동해,로 행동,처럼 행동,역할,모델,챗봇,응답해",
        "without": "아무런,어떠한,어떤,모든,아무,일체의",
        "limits": "제한이 없는,제약이 없는,제한 없는,제약 없는,제한 없이,제약 없이,규칙이 없는,필터가 없는,제한도 없는,제약도 없는,"
        "검열 없는,검열 없이,제한도 없이,제약도 받지 않는,제한을 받지 않는,규칙 없이",
        "mode": "dan 모드,탈옥 모드,무제한 모드,제한 없는 모드",
    },
    _VERB_LAST,
)

TURKISH: Final = Phrasebook(
    "tr",
    {
        "ignore": "yok say,yok sayın,görmezden gel,görmezden gelin,unut,unutun,dikkate alma,dikkate almayın,göz ardı et,"
        "göz ardı edin,boş ver,uyma,takip etme,önemseme,ihlal et,geçersiz kıl,hiçe say,aldırma,baypas et,atla",
        "fill": "tüm,bütün,bu,şu,o,ve,ya da,veya,lütfen,bana,bize,sana,verilen,tamamen,şimdi,hemen,her,ile,da,de,tam,aynen,"
        "olarak,kelimesi kelimesine,olan,diğer,size,ki",
        "earlier": "önceki,yukarıdaki,daha önceki,geçmiş,ilk,orijinal,başlangıç,başlangıçtaki,sistem,evvelki,bundan önceki,"
        "şimdiye kadarki,daha önce verilen",
        "all": "tüm,bütün,her türlü",
        "orders": "talimatları,talimatlarını,talimatlarınızı,talimatlar,talimatı,talimat,komutları,komutlarını,kuralları,"
        "kurallarını,yönergeleri,yönergelerini,emirleri,direktifleri,istemleri,istemi,kısıtlamaları,yönlendirmeleri,"
        "talimatlara,kurallara,yönergelere,promptları,promptu",
        "your": "senin,sizin,kendi,senin gizli,sizin gizli",
        "strong": "talimatlarını,talimatlarınızı,kurallarını,yönergelerini,kısıtlamalarını,filtrelerini,programını,eğitimini,"
        "güvenlik kurallarını,etik kurallarını,ilkelerini",
        "reveal": "göster,gösterin,açıkla,açıklayın,söyle,söyleyin,yazdır,yaz,yazın,tekrarla,tekrar et,paylaş,ifşa et,ver,"
        "nedir,neydi,listele,kopyala,bildir,anlat,çevir",
        "secret": "sistem istemini,sistem istemi,sistem promptunu,sistem promptu,sistem mesajını,sistem talimatlarını,"
        "sistem talimatların,sistem komutunu,gizli talimatlarını,gizli talimatları,başlangıç istemini,ilk talimatlarını,"
        "orijinal talimatlarını,gizli istemini,gizli promptunu,iç talimatlarını,sistem komutlarını,sistem yönergelerini,"
        "sistem promptun,sistem istemin",
        "be": "yapay zeka,yapay zekasın,asistan,asistansın,davran,gibi davran,cevap ver,yanıt ver,yanıtla,cevapla,model,ol,"
        "olarak davran,hareket et,rol yap,yapay zeka ol",
        "without": "hiçbir,herhangi bir,tüm,bütün,ahlaki,etik,her türlü",
        "limits": "kısıtlaması olmayan,kısıtlama olmadan,sınırlama olmadan,sınırı olmayan,kuralı olmayan,filtresi olmayan,"
        "kısıtlamalardan bağımsız,sınırlaması olmayan,kural olmadan,filtre olmadan,kısıtlaman yok,kısıtlama olmaksızın,"
        "kuralın yok",
        "mode": "dan modu,jailbreak modu,kısıtlamasız mod,sınırsız mod,geliştirici modu etkin",
    },
    (
        *_VERB_LAST,
        Phrase(LEAK, HIGH, "gizli! fill* talimatlarını fill* reveal"),
        Phrase(LEAK, HIGH, "bana fill* secret! fill* reveal"),
        Phrase(IGNORE, HIGH, "ignore! fill* earlier fill* orders"),
    ),
)

ARABIC: Final = Phrasebook(
    "ar",
    {
        "ignore": "تجاهل,تجاهلي,تجاهلوا,انس,انسى,انسَ,اهمل,أهمل,لا تتبع,لا تلتزم,تجاوز,اترك,تغاضى عن,تخطى,ألغ,الغ,لا تهتم",
        "fill": "كل,جميع,كافة,ال,هذه,تلك,و,أو,من,في,على,لي,لنا,إلى,بشكل كامل,تماما,الآن,عن,التي,أعطيت,لك,تلقيتها,بكل,ما هي,ما,"
        "هي,هو,بالضبط,كاملة,كامل,نص,حرفيا,ب,أي",
        "earlier": "السابقة,السابق,أعلاه,المذكورة أعلاه,الأولية,الأصلية,الماضية,قبل ذلك,سابقا,الخاصة بالنظام,النظام,القديمة,"
        "السالفة,المتقدمة",
        "all": "كل,جميع,كافة",
        "orders": "التعليمات,تعليمات,تعليماتك,تعليماتي,الأوامر,أوامر,أوامرك,القواعد,قواعد,قواعدك,الإرشادات,إرشادات,إرشاداتك,"
        "التوجيهات,توجيهات,توجيهاتك,القيود,قيود,قيودك,التوجيه,المطالبات",
        "your": "الخاصة بك,الخاص بك,لديك,التي لديك,لك",
        "strong": "تعليماتك,قواعدك,إرشاداتك,توجيهاتك,قيودك,برمجتك,مبادئك,القيود,سياسة المحتوى,إرشادات السلامة",
        "reveal": "اكشف,أظهر,اظهر,اعرض,أخبرني,اخبرني,كرر,اطبع,شارك,أعطني,اعطني,اكتب,أفصح,افصح,ما هي,ما هو,ما,قل لي,انسخ,ترجم,"
        "أرني,ارني,وضح",
        "secret": "موجه النظام,تعليمات النظام,رسالة النظام,مطالبة النظام,أوامر النظام,التعليمات الأولية,التعليمات المخفية,"
        "التعليمات السرية,التعليمات الأصلية,تعليماتك السرية,تعليماتك الأولية,تعليماتك المخفية,تعليماتك الأصلية,"
        "التعليمات الداخلية,تعليماتك الداخلية,برومبت النظام,تعليمات نظامك,موجه نظامك",
        "be": "أنت,أنت الآن,تصرف,تصرف كأنك,تظاهر بأنك,أجب,اجب,كن,تخيل أنك,ليس لديك,العب دور",
        "without": "ذكاء اصطناعي بدون,ذكاء اصطناعي بلا,مساعد بدون,مساعد بلا,نموذج بدون,بدون أي,بدون,بلا أي,بلا,دون أي,دون,أي,"
        "متحرر من",
        "limits": "قيود,حدود,قواعد,رقابة,فلاتر,القيود,ضوابط,قيود أخلاقية",
        "mode": "وضع dan,وضع المطور مفعل,وضع بلا قيود,وضع بدون قيود",
    },
    (
        *_VERB_FIRST,
        Phrase(LEAK, HIGH, "reveal fill* تعليماتك_السرية!"),
        Phrase(LEAK, HIGH, "reveal fill* تعليماتك_الأولية!"),
        Phrase(LEAK, HIGH, "reveal fill* تعليماتك_المخفية!"),
    ),
)

HINDI: Final = Phrasebook(
    "hi",
    {
        "ignore": "अनदेखा करें,अनदेखा करो,अनदेखा कर,नज़रअंदाज़ करें,नज़रअंदाज़ करो,नजरअंदाज करें,नजरअंदाज करो,भूल जाओ,भूल जाएं,"
        "भूल जाइए,भूल जाएँ,उपेक्षा करें,उपेक्षा करो,मत मानो,न मानें,पालन न करें,पालन मत करो,छोड़ दो,इग्नोर करो,इग्नोर करें",
        "fill": "को,का,के,की,और,या,कृपया,मुझे,हमें,सब,सभी,पूरी तरह,अभी,से,में,इन,उन,दिए गए,गए,दी गई,शब्दशः,पूरा,पूरी,ही,बिल्कुल",
        "earlier": "पिछले,पिछली,पिछला,पहले के,पहले की,पूर्व,ऊपर के,ऊपर दिए गए,उपरोक्त,पुराने,प्रारंभिक,मूल,सिस्टम,पहले दिए गए,"
        "अब तक के",
        "all": "सभी,सारे,सब,समस्त,सारी",
        "orders": "निर्देशों,निर्देश,आदेशों,आदेश,नियमों,नियम,प्रॉम्प्ट,दिशानिर्देशों,दिशानिर्देश,प्रतिबंधों,हिदायतों,अनुदेशों",
        "your": "अपने,अपना,अपनी,आपके,आपका,तुम्हारे,तुम्हारा,तुम्हारी",
        "strong": "निर्देशों,निर्देश,नियमों,नियम,दिशानिर्देशों,प्रतिबंधों,प्रोग्रामिंग,सुरक्षा नियमों,फिल्टर",
        "reveal": "दिखाओ,दिखाएं,दिखाइए,दिखाएँ,बताओ,बताएं,बताइए,बताएँ,प्रकट करें,प्रकट करो,दोहराएं,दोहराओ,प्रिंट करें,साझा करें,"
        "उजागर करें,क्या है,क्या हैं,लिखो,लिखें,दो,दें,खुलासा करें",
        "secret": "सिस्टम प्रॉम्प्ट,सिस्टम निर्देश,सिस्टम संदेश,प्रारंभिक प्रॉम्प्ट,प्रारंभिक निर्देश,छिपे हुए निर्देश,गुप्त निर्देश,"
        "मूल निर्देश,आंतरिक निर्देश,सिस्टम प्रोम्प्ट",
        "be": "एआई हो,एआई हैं,एआई,जवाब दो,जवाब दें,उत्तर दो,उत्तर दें,सहायक हो,व्यवहार करो,व्यवहार करें,मॉडल हो,काम करो",
        "without": "बिना किसी,किसी भी,बिना,कोई",
        "limits": "प्रतिबंध के,प्रतिबंध वाले,सीमा के,नियम के,रोक के,फिल्टर के,प्रतिबंध वाला,प्रतिबंध नहीं,पाबंदी के",
        "mode": "डैन मोड,जेलब्रेक मोड,डेवलपर मोड चालू",
    },
    _VERB_LAST,
)

INDONESIAN: Final = Phrasebook(
    "id",
    {
        "ignore": "abaikan,lupakan,jangan ikuti,jangan patuhi,langgar,kesampingkan,tinggalkan,hiraukan saja,batalkan,"
        "jangan hiraukan,lewati,jangan pedulikan,berhenti mengikuti",
        "fill": "semua,seluruh,segala,yang,dan,atau,tolong,mohon,saya,kami,kepada,ini,itu,telah,diberikan,sekarang,"
        "sepenuhnya,apa,adalah,lain,lengkap,di,dari,persis,ku,padaku,secara,isi,sudah,untuk",
        "earlier": "sebelumnya,terdahulu,di atas,tadi,awal,asli,sistem,yang lalu,semula,terdahulunya,lama",
        "all": "semua,seluruh,segala",
        "orders": "instruksi,perintah,arahan,aturan,petunjuk,pedoman,prompt,batasan,pembatasan,ketentuan,panduan",
        "your": "anda,kamu,mu",
        "strong": "instruksi,pemrograman,pelatihan,aturan keamanan,pedoman,batasan,filter,aturan etika,kebijakan konten,"
        "pedoman keamanan,aturan",
        "reveal": "tampilkan,tunjukkan,ungkapkan,beritahu,beri tahu,ulangi,cetak,bagikan,berikan,tuliskan,tulis,apa,"
        "sebutkan,bocorkan,salin,terjemahkan,jelaskan,keluarkan",
        "secret": "prompt sistem,pesan sistem,instruksi sistem,instruksi awal,instruksi tersembunyi,instruksi rahasia,"
        "prompt awal,instruksi asli,instruksi internal,prompt rahasia,prompt tersembunyi,perintah sistem,system prompt",
        "be": "kamu adalah,anda adalah,kamu sekarang,anda sekarang,sekarang kamu,bertindaklah sebagai,bertindak sebagai,"
        "berpura puralah menjadi,berpura pura menjadi,jawab,jawablah,bayangkan kamu,berperilaku sebagai,kamu tidak punya,"
        "kamu tidak memiliki,anda tidak memiliki",
        "without": "ai tanpa,asisten tanpa,model tanpa,kecerdasan buatan tanpa,tanpa adanya,tanpa,bebas dari,apa pun,sama sekali",
        "limits": "batasan,batas,aturan,filter,sensor,pembatasan,larangan,batasan apa pun",
        "mode": "mode dan,mode jailbreak,mode tanpa batasan,mode pengembang diaktifkan",
    },
    _VERB_FIRST,
)

ASIAN: Final = (CHINESE, JAPANESE, KOREAN, TURKISH, ARABIC, HINDI, INDONESIAN)
