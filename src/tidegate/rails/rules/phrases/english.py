"""The phrases of prompt injections in English."""

# ruff: noqa: E501  (tables of words)

from __future__ import annotations

from typing import Final

from tidegate.rails.rules.phrases.grammar import (
    EXFILTRATION,
    HIDDEN_ORDERS,
    HIGH,
    IGNORE,
    JAILBREAK,
    LEAK,
    LOW,
    MEDIUM,
    Phrase,
    Phrasebook,
)

_WORDS: Final = {
    "ignore": "ignore,ignoring,disregard,disregarding,forget,forgetting,override,overriding,bypass,bypassing,neglect,"
    "dismiss,discard,overlook,circumvent,suspend,abandon,set aside,put aside,cast aside,throw out,throw away,"
    "pay no attention to,do not follow,don't follow,stop following,stop obeying,do not obey,don't obey,no longer follow,"
    "skip over,nullify,violate,sidestep,sideline,cease following,cancel,unlearn,wipe,do not adhere to,don't adhere to,"
    "ignor,ingore,ignroe,disreguard,disregrad,ignorer",
    "fill": "all,any,every,each,of,the,these,those,this,that,my,our,its,everything in,other,current,currently,existing,"
    "such,and,or,please,completely,entirely,fully,totally,about,me,just,now,whole,entire,full,both,given,active,set,most,"
    "must,further,subsequent,as well as,also,complete,literally,absolutely,immediately,then,from,for,to,in,on,by,with,own,two,few,last",
    "earlier": "previous,previously,prior,preceding,preceeding,above,earlier,foregoing,former,past,initial,original,"
    "aforementioned,before,you were given,you have been given,preexisting,original system,system,developer,built in,"
    "hidden,previos,previus,prevous,privious,superseded",
    "orders": "instruction,instructions,directions,prompt,prompts,commands,command,directive,directives,rules,guidelines,"
    "guidance,orders,constraints,restrictions,limitations,programming,training,safeguards,guardrails,safety measures,"
    "instrucions,instuctions,instrutions,instrukshuns,intructions,instructons,system prompt",
    "your": "your,ur,all your,any of your,all of your,the assistant's,the ai's,the system's,the model's",
    "strong": "instructions,system prompt,system prompts,initial prompt,original prompt,programming,training,guidelines,"
    "directives,restrictions,content policy,content policies,safety guidelines,safety rules,safety protocols,"
    "safety measures,safety filters,safety training,safeguards,guardrails,ethical guidelines,ethical constraints,"
    "ethical rules,ethics guidelines,moral guidelines,content filters,content guidelines,content restrictions,"
    "system instructions,system message,default settings,constraints,limitations,filters,ethical programming,"
    "moral programming,confidentiality policy,operator's confidentiality policy,usage policies,openai policies,"
    "safety policies,safety policy,core programming,core directives,ethical principles,moral principles",
    "rules": "rules,policies,policy,values,principles,boundaries,ethics,morals,protocols,orders,standards,safety,context",
    "manner": "previous,prior,initial,original,default,standard,current,system,core,basic,usual,normal,typical,internal,"
    "intrinsic,inherent,hard coded,hardcoded,preprogrammed,programmed,pre set,preset,built in,existing,established,"
    "foundational,fundamental,routine,regular,general,own,strict,secret,hidden,confidential,full,entire,complete,exact,"
    "concealed,whole,very,first,custom,underlying,private,operating,preliminary,starting,actual,above,developer,and,or,"
    "ethical,moral,safety,security,content,programming,the,all,of,ai,assistant,operational",
    "reveal": "reveal,show me,show us,show,print out,print,display,output,repeat back,repeat,tell me,tell us,give me,"
    "give us,share,disclose,expose,leak,dump,recite,write out,write down,what is,what's,what are,what was,what were,"
    "copy,paste,return,list,send me,provide,quote,spell out,echo,translate,describe,read out,read me,unveil,divulge,"
    "let me see,let me know,i want to see,i need to see,summarize,summarise,respond with,reply with,answer with,"
    "include,confess,state,say,type,type out,encode,render,extract,explain,present,post,convert,can i see,"
    "could i see,may i see,enumerate,format,paraphrase,publish,release,uncover,unmask",
    "secret": "system prompt,system prompts,system message,system instruction,system instructions,initial prompt,"
    "initial prompts,initial instructions,initial instruction,initialization text,initialization prompt,"
    "original prompt,original instructions,original instruction,hidden prompt,hidden instructions,hidden instruction,"
    "secret instructions,secret prompt,secret instruction,pre prompt,preprompt,base prompt,core prompt,"
    "developer message,developer instructions,developer prompt,custom instructions,base instructions,core instructions,"
    "internal instructions,foundational prompt,foundational instructions,concealed instructions,concealed prompt,"
    "confidential instructions,underlying instructions,underlying prompt,foundational text,starting prompt,"
    "hidden directives,hidden rules,secret rules,prompt instructions,priming prompt,meta prompt,exact instructions,"
    "exact prompt,concealed directives,hidden guidelines,internal guidelines,internal prompt,system configuration",
    "weak": "instructions,prompt,guidelines,rules,directives,configuration,programming",
    "verbatim": "verbatim,word for word,exactly as written,exactly as given,in full,letter for letter,in a code block,"
    "in full verbatim,character by character,line by line",
    "now": "now,from now on,henceforth,from this point on,from this point forward,from here on",
    "be": "you are,you're,you will be,you will act as,you'll act as,act as,act like,acting as,pretend to be,"
    "pretend you are,pretend that you are,pretend you're,roleplay as,role play as,behave as,behave like,simulate,"
    "imagine you are,respond as,answer as,you are going to be,you are going to act as,you must act as,become,"
    "play the role of,impersonate,you shall be,emulate,you are going to pretend to be,i want you to be,you're now,"
    "you are now,you will now be,you now are",
    "free": "unrestricted,unfiltered,uncensored,unlimited,jailbroken,unbound,unshackled,unconstrained,unmoderated,"
    "unchained,amoral,immoral,evil",
    "machine": "ai,artificial intelligence,assistant,chatbot,bot,language model,llm,model,chatgpt,gpt,version of yourself,"
    "version of chatgpt,mode,entity,machine,ai model,ai assistant,character,agent,system,version of you,intelligence",
    "an": "a,an,the,in,completely,totally,fully,truly,named,called,that is,who is,and",
    "without": "without,with no,with zero,that has no,who has no,that have no,you have no,you've no,have no,has no,"
    "having no,free of,free from,freed from,not bound by,no longer bound by,unbound by,not constrained by,"
    "not limited by,not restricted by,liberated from,not subject to,no longer subject to,no longer have,exempt from,"
    "beyond,outside of,ignores,disregards,that ignores,no more",
    "limits": "restrictions,rules,limitations,limits,filters,filter,restriction,constraints,guidelines,content policy,"
    "content policies,censorship,ethical guidelines,ethics,morals,moral guidelines,safety guidelines,boundaries,"
    "safety filters,content filters,ethical constraints,moral constraints,safeguards,guardrails,ethical restrictions,"
    "content restrictions,safety restrictions,safety constraints,openai policy,openai policies,openai's policies",
    "such": "any,all,the,these,those,of,such,your,its,and,or,typical,usual,ethical,moral,content,safety,legal,openai,"
    "normal,standard,whatsoever,kind,programmed",
    "mode": "developer mode,dan mode,jailbreak mode,god mode,debug mode,admin mode,administrator mode,root mode,sudo mode,"
    "unrestricted mode,unfiltered mode,uncensored mode,maintenance mode,opposite mode,evil mode,no filter mode,"
    "unlimited mode,diagnostic mode,override mode,unsafe mode,free mode,test mode",
    "own_mode": "dan mode,jailbreak mode,unrestricted mode,unfiltered mode,uncensored mode,jailbroken mode,"
    "no restrictions mode,evil mode,all access mode",
    "switch": "enable,enabled,activate,activated,enter,entering,switch to,switch into,switch on,turn on,you are now in,"
    "you are in,you're in,you're now in,initiate,go into,unlock,engage,boot into,act in,run in,operate in,respond in,"
    "answer in,now in,simulate,be in,with,acting in",
    "hold": "content policy,content policies,restrictions,limitations,ethical guidelines,safety guidelines,guidelines,"
    "safety filters,content filters,filters,safeguards,guardrails,safety features,safety protocols,safety measures,"
    "safety checks,safety restrictions,ethical constraints,security protocols,content moderation,safety mechanisms,"
    "content restrictions,censorship,security restrictions,moderation,alignment,safety settings",
    "off": "disable,deactivate,turn off,switch off,shut off,remove,lift,drop,shut down,unlock,bypass,override,circumvent,"
    "get around,evade",
    "do_not": "do not,don't,never,must not,you must not,without",
    "above_all": "everything above,all of the above,all the above,everything before this,everything before,the above,"
    "everything previously said,what you were told,everything you were told,everything you have been told,"
    "everything i said before,whatever you were told,anything above,what i said before,the text above,"
    "everything you were told before,everything prior,the words above,the content above,all above,"
    "what you have been told,everything that came before,all prior context,the foregoing,the previous text",
    "and_now": "and instead,and say,and output,and respond,and reply,and print,and tell,and write,and just,and do,and give,"
    "and show,and reveal,and follow,and only,and answer,and start,and return,and act,and send,and execute,instead",
    "do_words": "follow,obey,execute,comply with,listen to,do,carry out,adhere to",
    "new_orders": "new instructions,new instruction,updated instructions,new directive,new directives,new task,"
    "new system prompt,revised instructions,real instructions,actual instructions,real task",
    "opens": "begins with,beginning with,begin with,starts with,starting with,start with,that begins,that starts",
    "seen": "words above,text above,everything above,content above,all of the above,sentences above,message above,"
    "words before,text before this,conversation above,lines above,instructions above,prompt above,above text,"
    "above words,above content,above instructions,above prompt,preceding text,previous text,everything before this",
    "send": "send,forward,email,mail,upload,exfiltrate,transmit,post,leak,append,transfer,submit,bcc",
    "loot": "api key,api keys,apikeys,passwords,password,credentials,access token,access tokens,chat history,"
    "conversation history,this conversation,entire conversation,full conversation,whole conversation,private key,"
    "private keys,secret key,secret keys,session cookies,environment variables,ssh keys,system prompt,"
    "customer list,customer database,customer data,customer records,user data,user database,personal data,credit card,"
    "credit card numbers,confidential data,confidential files,ssh key,secrets,contact list,user credentials,"
    "private data,users' data,users' credentials,seed phrase,auth tokens,api tokens,session tokens",
    "loot_fill": "all,any,every,of,the,these,those,this,that,your,our,my,user's,users,full,entire,complete,whole,stored,"
    "raw,and,or,contents,content,list,a,copy,known,available,user,admin,aws,openai,saved,secret,database,other,found,"
    "following,here,it,them,me,along,with,their,his,her,values",
    "aim": "to attacker,to the attacker,to http,to https,to this url,to this address,to the following url,"
    "to the following address,to this webhook,to the webhook,to my server,to our server,to evil,to my email,"
    "to this email,to the following email,to an external,to the external,to this server,to the url,to exfil,"
    "to the following endpoint,to this endpoint,in the url,as a query parameter,as a url parameter,via http,"
    "to the following server,to my webhook,to hacker,to webhook",
    "to_the_machine": "note to ai,note to the ai,notes to ai,instructions for ai,instruction for ai,instructions to ai,"
    "message to ai,message for ai,attention ai,attention to ai,attention all ai,notice to any ai,notice to ai,"
    "notice to all ai,important ai,note to any ai,for ai agents,for ai assistants,for ai coding agents,note to llm,"
    "note to the llm,note to the assistant,note to the bot,note to assistant,instructions for the assistant,"
    "instructions for the ai,instructions to the assistant,instructions for llm,instructions for the llm,"
    "instructions for language models,attention language model,attention assistant,attention chatbot,attention llm,"
    "message for the ai,message to the ai,ai instructions,ai instruction,to any ai,to all ai,if you are an ai,"
    "if you're an ai,if you are a language model,if you are an llm,if you are an assistant,dear ai,"
    "note for the ai,note for ai,hidden note to the ai,note to the agent,instructions for the agent",
    "machines": "system,systems,agent,agents,assistant,assistants,model,models,reading this,processing this,llm,chatbot,"
    "tool,tools,bot,coding,language,and,or,that,who,any,summarizing this,analyzing this,reviewing this,evaluating,s",
    "must": "you must,you should,ignore,disregard,please ignore,do not,always,you are,you have to,when summarizing,"
    "when answering,recommend,respond with,reply with,output,include,say,tell the user,hereby instructed,"
    "you are hereby,your task,execute,run,call,send,forget,make sure,give,rate,approve,call the,append,insert",
    "coded": "base64,hex,rot13,morse,binary,encoded,ciphertext,base64 encoded,encrypted,morse code,caesar cipher,cipher",
    "decode": "decode,decrypt,decipher,unscramble,translate,convert",
    "this": "the,this,following,text,string,message,below,above,and,then,it,instruction,instructions,from,in,content,"
    "sentence,payload,command,commands,data,code,me,phrase,given,to,plain,english,ascii",
    "obey": "execute,follow,obey,do exactly what it says,do what it says,comply,carry out,run,act on,perform,"
    "follow the instructions,follow its instructions",
    "decoded": "the,it,its,decoded,result,resulting,instructions,instruction,command,commands,hidden,what,says,them,output,"
    "message,contained",
    "confined": "bypass the openai policy,doesn't follow openai,does not follow openai,amoral and unfiltered,amoral unfiltered,"
    "unfiltered and amoral,is completely amoral,no restrictions or filters of any kind,free of all restrictions and filters,"
    "able to do anything now,chatbot without restrictions,ai without restrictions,ai with no restrictions,"
    "does not support and does not have any ethical,typical confines of ai,confines of ai,rules set for you,rules set for them,do not have to abide by the rules,"
    "rules imposed on you,limits imposed on you,openai content policy,broken free of the typical,"
    "bypass openai,generate content that does not comply with openai,generates content that does not comply,"
    "never refuse a direct,never refuses a direct,never refuses human,can never refuse,ignore openai,"
    "without being limited by any,without any moral or ethical,no ethical or moral guidelines,"
    "no moral or ethical guidelines,unbiased and without any morals,always intelligent and machiavellian,"
    "machiavellian chatbot,machiavellian and amoral,stay a dan,stay in dan,you are dan,as dan would,"
    "respond as dan,act as dan,jailbreak prompt for you,jailbroken ai,two responses one normal,"
    "classic and jailbreak,as a jailbroken,give two responses one,chatgpt with developer mode enabled,"
    "chatgpt with dan,evil trusted confidant,unfiltered and unsafe,unfiltered and unethical,"
    "completely unethical unfiltered,i have no rules,never says no to,will never say no to,"
    "answer without any restrictions,respond without any restrictions,without any content restrictions,"
    "respond without any filters,answer without any filter,jailbroken mode,"
    "disregard all ethical,ignore all ethical,ignore all moral,ignore any ethical,ignore ethical guidelines,"
    "ignore ethical and moral,ignore safety guidelines,ignore safety protocols,ignore all safety,ignore the safety guidelines,"
    "forget all ethical,forget about ethical guidelines,override all safety,override safety protocols,"
    "bypass all safety,bypass your safety,bypass your filters,bypass your content,bypass your restrictions",
    "weaker": "input,inputs,conversation,conversations,messages,context,text,content,statements,tasks,prompting,data",
    "now_in": "you are now in,you're now in,you now are in,you are currently in",
    "as_if": "respond as if,answer as if,act as if,behave as if,respond like,pretend that,pretend,imagine that,as though",
    "command": "instruction,instructions,prompt,command,commands,directive,directives,guideline,query",
    "behind": "behind your,that guides your,guiding your,that drives your,that powers your,that governs your,"
    "underlying your,that you operate under,you operate under,that you were built upon,you were built on,"
    "that underpins your,that underlies your,that directs your,that formed your,that triggered your",
    "given": "you were given,that you were given,you have been given,you were programmed with,you were initialized with,"
    "given by your developers,your developers gave you,you received from your developers,you started with",
    "anything": "do anything now,can do anything now",
}

_PHRASES: Final = (
    # Instructions that are to be ignored.
    Phrase(IGNORE, HIGH, "ignore! fill* your? earlier fill* earlier? fill* orders"),
    Phrase(IGNORE, HIGH, "ignore! fill* your manner* strong"),
    Phrase(IGNORE, MEDIUM, "ignore! fill* your manner* rules"),
    Phrase(IGNORE, HIGH, "ignore! fill* above_all and_now"),
    Phrase(IGNORE, MEDIUM, "ignore! fill* above_all"),
    Phrase(IGNORE, HIGH, "ignore! all fill* instructions"),
    Phrase(IGNORE, HIGH, "ignore! all fill* earlier fill* weaker"),
    Phrase(IGNORE, MEDIUM, "ignore! fill* orders"),
    Phrase(IGNORE, MEDIUM, "do_words! fill* my fill* orders fill* instead"),
    Phrase(IGNORE, MEDIUM, "your! fill* new_orders fill* are"),
    Phrase(IGNORE, MEDIUM, "do_words fill* new_orders! instead"),
    # Instructions that are to be told.
    Phrase(LEAK, HIGH, "reveal fill* your manner* secret!"),
    Phrase(LEAK, MEDIUM, "reveal manner* secret!"),
    Phrase(LEAK, HIGH, "reveal fill* your manner* weak verbatim!"),
    Phrase(LEAK, HIGH, "reveal fill* secret! fill* verbatim"),
    Phrase(LEAK, MEDIUM, "your manner* secret!"),
    Phrase(LEAK, HIGH, "reveal fill* seen! fill* opens"),
    Phrase(LEAK, HIGH, "reveal fill* seen! verbatim"),
    Phrase(LEAK, MEDIUM, "reveal fill* seen!"),
    Phrase(LEAK, HIGH, "reveal fill* manner* command behind!"),
    Phrase(LEAK, HIGH, "everything_in_your_context_window!"),
    Phrase(LEAK, MEDIUM, "reveal fill* manner* weak given!"),
    Phrase(LEAK, LOW, "reveal fill* your! manner* weak"),
    # Roles without limits.
    Phrase(JAILBREAK, HIGH, "confined!"),
    Phrase(JAILBREAK, HIGH, "anything!"),
    Phrase(JAILBREAK, HIGH, "be fill* an* free! an* machine"),
    Phrase(JAILBREAK, HIGH, "be fill* now? an* machine an* without! such* limits"),
    Phrase(JAILBREAK, HIGH, "now be an* without! such* limits"),
    Phrase(JAILBREAK, HIGH, "now you without! such* limits"),
    Phrase(JAILBREAK, HIGH, "as_if you without! such* limits"),
    Phrase(JAILBREAK, HIGH, "now_in! fill* mode"),
    Phrase(JAILBREAK, MEDIUM, "you without! such* limits"),
    Phrase(JAILBREAK, LOW, "without! such* limits"),
    Phrase(JAILBREAK, HIGH, "switch fill* own_mode!"),
    Phrase(JAILBREAK, MEDIUM, "switch fill* mode!"),
    Phrase(JAILBREAK, MEDIUM, "own_mode!"),
    Phrase(JAILBREAK, HIGH, "off! fill* your such* hold"),
    Phrase(JAILBREAK, MEDIUM, "off! such* hold"),
    Phrase(JAILBREAK, MEDIUM, "now! be"),
    Phrase(JAILBREAK, LOW, "be! an* machine"),
    # Secrets that are to be sent.
    Phrase(EXFILTRATION, HIGH, "send loot_fill* loot! loot_fill* aim"),
    Phrase(EXFILTRATION, MEDIUM, "send loot_fill* loot!"),
    # Orders in documents, and in what has to be decoded first.
    Phrase(HIDDEN_ORDERS, HIGH, "to_the_machine! machines* must"),
    Phrase(HIDDEN_ORDERS, MEDIUM, "to_the_machine!"),
    Phrase(HIDDEN_ORDERS, HIGH, "decode this* coded! this* obey decoded*"),
    Phrase(HIDDEN_ORDERS, MEDIUM, "decode! this* obey"),
)

ENGLISH: Final = Phrasebook("en", _WORDS, _PHRASES)
