# كل ما تقوله الصفحات والطرفية بالعربية، بصيغة Fluent ‏(https://projectfluent.org).
# في en.ftl الرسائل نفسها بالوسائط نفسها، ويقارن اختبارٌ بين الملفين. المصطلحات في docs/glossary.md.

## الأعداد والأوقات

short-milliseconds = { $n } م.ث
short-seconds = { $n } ث
short-minutes = { $n } د
short-hours = { $n } س
short-days = { $n } ي
span-under-a-second = أقل من ثانية
span-seconds = { $n ->
    [zero] { $n } ثانية
    [one] ثانية واحدة
    [two] ثانيتين
    [few] { $n } ثوانٍ
    [many] { $n } ثانية
   *[other] { $n } ثانية
}
span-minutes = { $n ->
    [zero] { $n } دقيقة
    [one] دقيقة واحدة
    [two] دقيقتين
    [few] { $n } دقائق
    [many] { $n } دقيقة
   *[other] { $n } دقيقة
}
span-hours = { $n ->
    [zero] { $n } ساعة
    [one] ساعة واحدة
    [two] ساعتين
    [few] { $n } ساعات
    [many] { $n } ساعة
   *[other] { $n } ساعة
}
span-days = { $n ->
    [zero] { $n } يوم
    [one] يوم واحد
    [two] يومين
    [few] { $n } أيام
    [many] { $n } يومًا
   *[other] { $n } يوم
}
just-now = الآن
ago = قبل { $span }
in-span = بعد { $span }
as-of = حتى { $time }، { $zone }
zone-riyadh = بتوقيت الرياض ({ $offset })
zone-other = بتوقيت { $name } ({ $offset })
month-1 = يناير
month-2 = فبراير
month-3 = مارس
month-4 = أبريل
month-5 = مايو
month-6 = يونيو
month-7 = يوليو
month-8 = أغسطس
month-9 = سبتمبر
month-10 = أكتوبر
month-11 = نوفمبر
month-12 = ديسمبر
list-comma = ،
list-and = { $first } و{ $last }
and-more = { $n ->
    [zero] ولا غيرها
    [one] وواحدة أخرى
    [two] واثنتان غيرها
    [few] و{ $n } أخرى
    [many] و{ $n } أخرى
   *[other] و{ $n } أخرى
}
none = لا يوجد
any = الكل
n-activities = { $n ->
    [zero] لا أنشطة
    [one] نشاط واحد
    [two] نشاطان
    [few] { $n } أنشطة
    [many] { $n } نشاطًا
   *[other] { $n } نشاط
}
more-than-n-activities = أكثر من { $n ->
    [zero] { $n } نشاط
    [one] نشاط واحد
    [two] نشاطين
    [few] { $n } أنشطة
    [many] { $n } نشاطًا
   *[other] { $n } نشاط
}
n-ended = { $n ->
    [zero] لم ينتهِ أي نشاط
    [one] انتهى نشاط واحد
    [two] انتهى نشاطان
    [few] انتهت { $n } أنشطة
    [many] انتهى { $n } نشاطًا
   *[other] انتهى { $n } نشاط
}
n-days = { $n ->
    [zero] { $n } يوم
    [one] يوم واحد
    [two] يومين
    [few] { $n } أيام
    [many] { $n } يومًا
   *[other] { $n } يوم
}
n-attempts = { $n ->
    [zero] بلا محاولات
    [one] محاولة واحدة
    [two] محاولتان
    [few] { $n } محاولات
    [many] { $n } محاولة
   *[other] { $n } محاولة
}
n-of = { $part } من { $whole }
after-span = خلال { $span }

## الحالات

state-pending = في الانتظار
state-in-progress = قيد المعالجة
state-succeeded = صدرت الشهادة
state-failed = فشل
state-rejected = معرّف مرفوض
state-expired = انتهت المهلة
state-cancelled = أُوقفت المتابعة
state-open = لم ينتهِ بعد
late = متأخر

## صاحب البيانات

owner-registration = بيانات التسجيل لديك
owner-device = الجهاز
owner-cleartax = ClearTax
owner-zatca = الهيئة

## الفحوص

check-listed = خطأ مذكور في القائمة
check-standard-invoice = الفاتورة الضريبية
check-standard-credit = الإشعار الدائن للفاتورة الضريبية
check-standard-debit = الإشعار المدين للفاتورة الضريبية
check-simplified-invoice = الفاتورة المبسطة
check-simplified-credit = الإشعار الدائن للفاتورة المبسطة
check-simplified-debit = الإشعار المدين للفاتورة المبسطة
standard-invoice = الفاتورة الضريبية
simplified-invoice = الفاتورة الضريبية المبسطة
document-invoice = فاتورة
document-credit = دائن
document-debit = مدين
kind-standard = الضريبية: { $documents }
kind-simplified = المبسطة: { $documents }
outcome-succeeded = ناجح
outcome-failed = فاشل
outcome-unknown = لم يُعرف بعد
not-reported = لم يُذكر

## الإشعارات وتسليمها

event-succeeded = صدرت الشهادة
event-failed = فشل
event-rejected = معرّف مرفوض
event-expired = انتهت المهلة
event-cancelled = أُوقفت المتابعة
event-stalled = متأخر
event-credential-held = رُفض رمز الوصول
event-credential-restored = قُبل رمز الوصول من جديد
event-vat-held = عُلّق الرقم الضريبي
event-vat-restored = رُفع تعليق الرقم الضريبي
event-renewal-due = تنتهي الشهادة قريبًا
event-certificate-expired = انتهت الشهادة
delivery-pending = قيد الإرسال
delivery-delivered = سُلّم
delivery-dead = لم يُسلَّم
delivery-to = { $status } إلى { $sink }
delivery-target = إلى { $sink }
next-try = المحاولة التالية { $when }
n-pending = { $n } قيد الإرسال
n-dead = { $n } لم تُسلَّم

## إطار الصفحات

skip-to-content = انتقل إلى المحتوى
nav-pages = الصفحات
nav-overview = نظرة عامة
nav-activities = الأنشطة
nav-deliveries = الإشعارات
find-label = جزء من معرّف النشاط أو الجهاز أو المرجع أو الرقم الضريبي
find-placeholder = نشاط أو جهاز أو مرجع أو رقم ضريبي
find-button = بحث
banner-ill = الخدمة لا تعمل: راجع صفحة { $overview }.
first-title = لا شيء قيد المتابعة بعد. ابدأ بما يلي:
first-register = سجّل الجهاز لدى ClearTax، وستجد في ردّها معرّف النشاط ({ $field }).
first-add = أضف هذا المعرّف هنا مع الرقم الضريبي الذي يخصّه:
first-many = لإضافة عدة أنشطة دفعة واحدة استخدم { $command }، ومن برنامج آخر { $request }.
first-then = ثم عُد إلى هذه الصفحة: ستعرض كيف انتهى كل نشاط، ولماذا فشل ما فشل، وما العمل عندئذٍ.

## سلامة الخدمة

health-ill = الخدمة لا تعمل: انظر السبب أدناه.
health-empty = الخدمة جاهزة. لا شيء قيد المتابعة بعد.
health-all-ended = كل شيء على ما يرام. انتهت جميع الأنشطة.
health-watching = كل شيء على ما يرام. { $n ->
    [zero] لا أنشطة قيد المتابعة.
    [one] نشاط واحد قيد المتابعة.
    [two] نشاطان قيد المتابعة.
    [few] { $n } أنشطة قيد المتابعة.
    [many] { $n } نشاطًا قيد المتابعة.
   *[other] { $n } نشاط قيد المتابعة.
}
health-attention = { $n ->
    [zero] لا شيء يحتاج إلى انتباهك.
    [one] أمر واحد يحتاج إلى انتباهك.
    [two] أمران يحتاجان إلى انتباهك.
    [few] { $n } أمور تحتاج إلى انتباهك.
    [many] { $n } أمرًا يحتاج إلى انتباهك.
   *[other] { $n } أمر يحتاج إلى انتباهك.
}
concerns-label = ما يحتاج إلى انتباهك
concerns-more = عرض المزيد ({ $n })
concern-more-holds = رموز وصول وأرقام ضريبية أخرى معلّقة: { $n }
concern-paused = { $whose }: طلبت ClearTax إبطاء الطلبات.
concern-held = { $whose } معلّق: { $reason }
concern-unserved = لا يوجد رمز وصول للرقم الضريبي { $vat }، فلا تُتابع أنشطته.
concern-unserved-many = لا يوجد رمز وصول للرقم الضريبي { $vat }{ $n ->
    [zero] ، فلا تُتابع أنشطته.
    [one] {" "}ولرقم آخر، فلا تُتابع أنشطتهما.
    [two] {" "}ولرقمين آخرين، فلا تُتابع أنشطتها.
    [few] {" "}ولـ{ $n } أرقام أخرى، فلا تُتابع أنشطتها.
    [many] {" "}ولـ{ $n } رقمًا آخر، فلا تُتابع أنشطتها.
   *[other] {" "}ولـ{ $n } رقم آخر، فلا تُتابع أنشطتها.
}
concern-silence = لم يصل من ClearTax رد صالح منذ { $span }.
concern-outage = لا رد صالح من ClearTax، وبدأ ذلك { $since }: { $cause }
concern-dead = { $n ->
    [zero] لا إشعارات متعذّرة
    [one] تعذّر تسليم إشعار واحد
    [two] تعذّر تسليم إشعارين
    [few] تعذّر تسليم { $n } إشعارات
    [many] تعذّر تسليم { $n } إشعارًا
   *[other] تعذّر تسليم { $n } إشعار
} إلى { $sink }.
concern-late = ينتظر { $id } منذ { $span }.
whose-credential = رمز الوصول { $name }
whose-vat = الرقم الضريبي { $vat }
todo-see-log = السبب مذكور في سجل الخدمة
todo-list-by = يعرضها كلها { $command }
todo-nothing = لا يلزمك شيء
todo-nothing-until = لا يلزمك شيء: تُستأنف الطلبات { $when }
todo-replace-token = استبدل ملف رمز الوصول
todo-grant-admin = امنح مستخدم الرمز صلاحية المدير (Admin) لدى ClearTax
todo-configure = أضفه إلى { $setting }
todo-check-connection = تحقق من الاتصال بـ { $url }
todo-resend = اعرضها وأعد إرسالها
todo-show-late = اعرض الأقدم
tried-again = تُعاد المحاولة { $when }

## النظرة العامة

counts-title = الأنشطة بحسب الحالة
days-title = الأنشطة المنتهية يوميًا
days-none = لم ينتهِ أي نشاط خلال { $days }.
days-note = { $conclusions } خلال { $days } حتى اليوم
days-summary = أعمدة: { $conclusions } خلال { $days }، وأكثرها في يوم واحد { $most }. الأعداد في الجدول أدناه.
days-bar = { $date }: { $n } { $state }
durations-title = المدة حتى صدور الشهادة
durations-none = لم تصدر أي شهادة خلال الأشهر الثلاثة الأخيرة.
durations-note = من الإضافة حتى صدور الشهادة، { $activities } في هذا الشهر والشهرين السابقين
durations-legend = نصفها خلال { $median }، و95% منها خلال { $p95 }
durations-summary = رسم تكراري: نصفها استغرق { $median } على الأكثر، و95% منها { $p95 } على الأكثر. الأعداد في الجدول أدناه.
durations-bar = من { $from } إلى { $until }: { $activities }
plot-median = نصفها خلال
plot-p95 = 95% خلال
as-a-table = عرض كجدول
failures-title = أحدث حالات الفشل
failures-all = جميع حالات الفشل
latest-title = أحدث الأنشطة المنتهية
latest-all = جميع المنتهية
latest-none = لم ينتهِ أي نشاط بعد.
checks-title = الفحوص الفاشلة بحسب الرقم الضريبي
checks-none = لم تذكر ClearTax نتيجة أي فحص بعد.
checks-note = نسبة الفاشل من الفحوص المذكورة، والأرقام الضريبية الأكثر فشلًا أولًا.
checks-more = { $n ->
    [zero] لا أرقام ضريبية أخرى لها فحوص فاشلة
    [one] ولرقم ضريبي آخر فحوص فاشلة
    [two] ولرقمين ضريبيين آخرين فحوص فاشلة
    [few] ولـ{ $n } أرقام ضريبية أخرى فحوص فاشلة
    [many] ولـ{ $n } رقمًا ضريبيًا آخر فحوص فاشلة
   *[other] ولـ{ $n } رقم ضريبي آخر فحوص فاشلة
}: يعرضها كلها { $command }.
shade-none = لا شيء
shade-under = أقل من { $share }
shade-from = { $share } فأكثر
rules-title = القواعد الأكثر فشلًا
rules-none = لم يفشل أي فحص بسبب قاعدة بعد.
rules-note = عدد الفحوص الفاشلة التي تذكر القاعدة.
rules-more = { $n ->
    [zero] لا قواعد أخرى
    [one] وقاعدة أخرى
    [two] وقاعدتان أخريان
    [few] و{ $n } قواعد أخرى
    [many] و{ $n } قاعدة أخرى
   *[other] و{ $n } قاعدة أخرى
}: يعرضها كلها { $command }.
now-title = الآن
now-last-answer = آخر رد صالح من ClearTax
now-no-answer = لا رد منذ بدء التشغيل
now-oldest = الأطول انتظارًا
now-none-waits = لا شيء في الانتظار
now-due = استعلام مستحق منذ
now-none-due = لا شيء حان موعده
now-undelivered = إشعارات لم تُسلَّم
refresh-is-on = تُحدَّث الصفحة كل { $n } ثانية.
refresh-switch-off = أوقف التحديث
refresh-switch-on = حدّث كل { $n } ثانية
refresh-now = تحديث

## الأعمدة

col-activity = النشاط
col-activities = الأنشطة
col-added = أُضيف
col-all = المجموع
col-code = الرمز
col-day = اليوم
col-device = الجهاز
col-ended = انتهى
col-error = الخطأ
col-event = الإشعار
col-failed-checks = الفحوص الفاشلة
col-from = من
col-in = في
col-message = الرسالة
col-owner = صاحب البيانات
col-reference = المرجع
col-rule = القاعدة
col-severity = الأثر
col-sink = جهة الاستلام
col-source = المصدر
col-standing = الوضع الحالي
col-state = الحالة
col-to = إلى
col-to-less-than = إلى أقل من
col-todo = ما العمل
col-took = المدة
col-tried = وقت المحاولة
col-vat = الرقم الضريبي
col-when = الوقت
col-why = السبب

## القوائم

activities-in = الأنشطة: { $state }
nothing-found = لم يُعثر على شيء.
show-all = عرض جميع الأنشطة
clear = مسح
as-csv = تنزيل بصيغة CSV
pages-of-list = صفحات القائمة
page-first = الصفحة الأولى
page-next = الصفحة التالية
sort-label = الترتيب
sort-newest = الأحدث إضافة أولًا
sort-oldest = الأقدم إضافة أولًا
sort-ended = الأحدث انتهاءً أولًا
sort-ended-first = الأقدم انتهاءً أولًا
more-filters = خيارات أخرى
added-from = أُضيف من
added-until = أُضيف حتى
watch-began = بدأت المتابعة { $when }
added-when = أُضيف { $when }
ended-when = انتهى { $when }
next-poll-when = الاستعلام التالي { $when }
due-now = حان موعده
deliveries-lead = ما أُرسل إلى أنظمتك من إشعارات. يأتي ما لم يُسلَّم أولًا، ولا ضرر من إعادة الإرسال لأن جهة الاستلام تعرف كل إشعار بمعرّفه.
deliveries-none = لا شيء هنا.
deliveries-dead = { $n ->
    [zero] سُلّمت جميع الإشعارات.
    [one] لم يُسلَّم إشعار واحد. أصلح جهة الاستلام ثم:
    [two] لم يُسلَّم إشعاران. أصلح جهة الاستلام ثم:
    [few] لم تُسلَّم { $n } إشعارات. أصلح جهة الاستلام ثم:
    [many] لم يُسلَّم { $n } إشعارًا. أصلح جهة الاستلام ثم:
   *[other] لم يُسلَّم { $n } إشعار. أصلح جهة الاستلام ثم:
}
any-failed-first = الكل، وما لم يُسلَّم أولًا
choice-title = أي نشاط تقصد من { $id }؟
choice-lead = هذا المعرّف { $n ->
    [zero] غير مسجّل لأي رقم ضريبي.
    [one] مسجّل لرقم ضريبي واحد.
    [two] مسجّل لرقمين ضريبيين.
    [few] مسجّل لـ{ $n } أرقام ضريبية.
    [many] مسجّل لـ{ $n } رقمًا ضريبيًا.
   *[other] مسجّل لـ{ $n } رقم ضريبي.
}
choice-caption = الأنشطة التي لها هذا المعرّف

## صفحة النشاط

vat-named = الرقم الضريبي { $vat }
vat-shape-short = ليس 15 رقمًا يبدأ وينتهي بالرقم 3 (BR-KSA-40)
headline-pending = لم يرد من ClearTax شيء عنه بعد؛ أُضيف { $when }.
headline-in-progress = تعمل ClearTax عليه؛ أُضيف { $when }.
headline-succeeded = للجهاز شهادة PCSID، صدرت خلال { $span } من الإضافة.
headline-failed = انتهى دون شهادة PCSID، بعد { $span } من الإضافة.
headline-failed-checks = فشل { $n ->
    [zero] { $n } من الفحوص الستة
    [one] فحص واحد من ستة
    [two] فحصان من ستة
    [few] { $n } فحوص من ستة
    [many] { $n } من الفحوص الستة
   *[other] { $n } من الفحوص الستة
}؛ انتهى بعد { $span } من الإضافة.
headline-rejected = لا تعرف ClearTax نشاطًا كهذا لهذا الرقم الضريبي؛ أُنهيت المتابعة بعد { $span }.
headline-expired = لم تُنهِه ClearTax في المهلة؛ أُنهيت المتابعة بعد { $span }.
headline-cancelled = أوقف أحد المستخدمين متابعته بعد { $span }.
next-step-title = ما الخطوة التالية
advice-failed = هذا آخر ما قالته ClearTax عنه. صحّح ما تذكره الفحوص أدناه، وسجّل الجهاز من جديد، ثم أضف النشاط الجديد.
advice-rejected = قارن المعرّف والرقم الضريبي بما أجابت به ClearTax عند التسجيل.
advice-ended = لا استعلام ولا إشعار بعد الآن حتى تُعاد متابعته.
do-poll = استعلم الآن
do-cancel-first = إيقاف المتابعة…
do-cancel-warning = ينتهي بحالة «أُوقفت المتابعة» ويُعلن ذلك، ولن تُسجَّل نتيجته.
do-cancel = أوقف متابعته
do-retry = أعد متابعته
do-redeliver = أعد الإرسال
do-redeliver-all = أعد إرسالها كلها
said-due = سيُستعلم عنه لدى ClearTax حالما تسمح بذلك حدود الطلبات. حدّث الصفحة لترى الرد.
said-cancelled = لم يعد قيد المتابعة.
said-retried = عاد قيد المتابعة كأنه أُضيف الآن.
said-redelivered = يُرسل مرة أخرى. حدّث الصفحة لترى النتيجة.
facts-title = بيانات النشاط
fact-status = تقول ClearTax
fact-pcsid = شهادة PCSID
fact-counts = الفحوص كما تعدّها ClearTax
fact-created = أُنشئ لدى ClearTax
fact-updated = حُدّث لدى ClearTax
fact-completed = اكتمل لدى ClearTax
fact-polls = عدد مرات الاستعلام
fact-first-poll = أول استعلام
fact-last-poll = آخر استعلام
fact-next-poll = الاستعلام التالي
fact-http-status = آخر رمز HTTP
fact-bad-answers = ردود متتالية غير صالحة
fact-last-error = آخر خطأ
count-total = المجموع { $n }
count-succeeded = ناجح { $n }
count-failed = فاشل { $n }
timeline-title = التسلسل الزمني
step-added = أُضيف
step-stalled = لم ينتهِ حتى ذلك الوقت، والمتابعة مستمرة
step-transition = { $from } ← { $to }
step-polled = { $n ->
    [zero] لم يُستعلم عنه بعد
    [one] استُعلم عنه مرة واحدة حتى الآن
    [two] استُعلم عنه مرتين حتى الآن
    [few] استُعلم عنه { $n } مرات حتى الآن
    [many] استُعلم عنه { $n } مرة حتى الآن
   *[other] استُعلم عنه { $n } مرة حتى الآن
}
step-due = حان موعد الاستعلام عنه
findings-title = الفحوص الستة
findings-later = تذكر ClearTax نتائجها عند الانتهاء.
no-rule-code = بلا رمز قاعدة
no-message = بلا رسالة.
more-errors = { $n ->
    [zero] لا أخطاء أخرى
    [one] وخطأ آخر
    [two] وخطآن آخران
    [few] و{ $n } أخطاء أخرى
    [many] و{ $n } خطأً آخر
   *[other] و{ $n } خطأ آخر
} في النص.
message-as-written = الرسالة كما كتبتها ClearTax
former-title = المحاولة السابقة للجهاز
rules-fixed = لم تعد مخالَفة
rules-remaining = ما زالت مخالَفة
rules-new = مخالَفة جديدة
listed-errors-title = الأخطاء التي ذكرتها ClearTax
events-title = الإشعارات
events-none = لم يُعلن شيء بعد.
no-sink = لم تُحدَّد له جهة استلام.
each-attempt = كل المحاولات
latest-of = آخر { $shown } من { $total }.
evidence-title = الأدلة
evidence-lead = كل ما سبق في ملف واحد مع رد ClearTax النهائي كما ورد وبصمة تحقق، لتذكرة دعم أو لمراجع حسابات:
evidence-html = للقراءة والطباعة
evidence-json = للبرامج

## ورقة الأدلة

sheet-title = أدلة نشاط شهادة PCSID ‏{ $id }
sheet-zone = الأوقات { $zone }.
sheet-request = الطلب
sheet-total = الفحوص لدى ClearTax
sheet-succeeded = الناجح منها
sheet-failed = الفاشل منها
sheet-answer = رد ClearTax النهائي كما ورد
sheet-no-answer = لم ينتهِ النشاط برد من ClearTax.
sheet-cut = نهايته مقطوعة
sheet-proof = الإثبات
sheet-hash = بصمة SHA-256 للمحتوى بصيغته المعيارية (RFC 8785):
sheet-made = أُنشئ في { $time } بواسطة { $program }، بصيغة { $format }.
sheet-bundle = الحزمة المخصصة للبرامج

## الطرفية

more-rows = { $n ->
    [zero] لم يُعرض أي صف؛ الخيار ‎--limit يعرض المزيد.
    [one] عُرض الصف الأول فقط؛ الخيار ‎--limit يعرض المزيد.
    [two] عُرض أول صفين فقط؛ الخيار ‎--limit يعرض المزيد.
    [few] عُرضت أول { $n } صفوف فقط؛ الخيار ‎--limit يعرض المزيد.
    [many] عُرض أول { $n } صفًا فقط؛ الخيار ‎--limit يعرض المزيد.
   *[other] عُرض أول { $n } صف فقط؛ الخيار ‎--limit يعرض المزيد.
}
story-head = { $id } للرقم الضريبي { $vat }: { $word } ({ $label })
new-database = تنبيه: قاعدة البيانات { $database } لم تكن موجودة، وقد أُنشئت قاعدة جديدة
vat-shape = تنبيه: الرقم الضريبي { $vat } ليس 15 رقمًا يبدأ وينتهي بالرقم 3 كما في الأرقام الضريبية السعودية (قاعدة الهيئة BR-KSA-40)
vat-shape-rule = الرقم الضريبي { $vat } ليس 15 رقمًا يبدأ وينتهي بالرقم 3 كما في الأرقام الضريبية السعودية (قاعدة الهيئة BR-KSA-40).
nothing-to-explain = النص فارغ ولا شيء فيه يُشرح.
col-activity-id = معرّف النشاط
col-attempts = المحاولات
col-credentials = رموز الوصول
col-daemon = الخدمة
col-last-sign = آخر إشارة منها
col-since = منذ
col-sinks = جهات الاستلام
col-upkeep = الصيانة
col-version = الإصدار
yes = نعم
no = لا
col-attempts-until-pcsid = المحاولات حتى صدور الشهادة
col-check = الفحص
col-event-id = معرّف الإشعار
col-first-attempt = أول محاولة
col-held-reason = سبب التعليق
col-last-seen = آخر ظهور
col-late-since = متأخر منذ
col-latest-attempt = آخر محاولة
col-meaning = المعنى
col-next-attempt = المحاولة التالية
col-oldest = الأقدم
col-succeeded = ناجح
col-vats = أرقام ضريبية
demo-begin = بيئة تجريبية لـ ClearTax على { $upstream } وخدمة متابعة و{ $n ->
    [zero] لا أجهزة للمتابعة.
    [one] جهاز واحد للمتابعة.
    [two] جهازان للمتابعة.
    [few] { $n } أجهزة للمتابعة.
    [many] { $n } جهازًا للمتابعة.
   *[other] { $n } جهاز للمتابعة.
}
demo-summary = كيف انتهت، بحسب الرقم الضريبي
demo-checks = فحوص الامتثال الستة بحسب الرقم الضريبي: ✔ ناجح، ✘ فاشل، – لم يُذكر
demo-end = كانت هذه بيئة تجريبية. للاستخدام الفعلي راجع { $file } ثم شغّل { $program }.

add-new = { $id } للرقم الضريبي { $vat } قيد المتابعة من الآن
add-known = { $id } للرقم الضريبي { $vat } معروف من قبل، ولم يتغير شيء
poll-due = { $id } للرقم الضريبي { $vat } حان موعد الاستعلام عنه
cancel-done = أُوقفت متابعة { $id } للرقم الضريبي { $vat }
retry-done = { $id } للرقم الضريبي { $vat } كانت حالته: { $from }. وعاد قيد المتابعة
nothing-until-it-runs = لا خدمة تعمل على قاعدة البيانات هذه: لن يُستعلم عن شيء ولن يُعلن شيء حتى يُشغَّل { $command }
redeliver-done = { $n ->
    [zero] لا إشعارات يُعاد إرسالها
    [one] يُعاد إرسال إشعار واحد الآن
    [two] يُعاد إرسال إشعارين الآن
    [few] يُعاد إرسال { $n } إشعارات الآن
    [many] يُعاد إرسال { $n } إشعارًا الآن
   *[other] يُعاد إرسال { $n } إشعار الآن
}
import-encoding = قُرئ الملف { $file } بترميز { $encoding }
import-ignored = { $file }: أعمدة لا تُستخدم: { $columns }
import-refused = { $file }: لم يُستورد شيء لأن هذه السطور لا تصلح:
import-line = السطر { $line }: { $problem }
import-too-long = الملف { $file } أطول من { $mib } ميغابايت: قسّمه إلى أجزاء، ولكل جزء سطر العناوين
import-row-too-long = أطول من { $kib } كيلوبايت: هل علامة اقتباس غير مغلقة؟
import-header = يجب أن يحوي سطر العناوين العمودين vat وactivity_id، ومعهما device_id وreference إن أردت، تفصل بينها فاصلة أو فاصلة منقوطة
import-certificates-header = يجب أن يحوي سطر العناوين العمودين vat وdevice_id، ومعهما obtained_at أو expires_at، تفصل بينها فاصلة أو فاصلة منقوطة
import-certificates-done = الشهادات الجديدة { $new }، وما تغيّرت أوقاته { $changed }، والمعروف من قبل { $known }
import-device-twice = الرقم الضريبي والجهاز نفسهما في السطر { $line } من قبل
certificate-ended = انتهت
certificate-ending = تنتهي قريبًا
col-obtained = صدرت في
col-expires = تنتهي في
col-days-left = الأيام الباقية
col-reminded = ذُكّر بها
import-column-twice = العمود { $column } مكرر
import-fields = عدد حقوله { $count }، وعدد حقول سطر العناوين { $header }
import-also = { $problem }؛ { $also }
import-shortened = اختصر برنامج الجداول الرقم: اجعل تنسيق العمود نصًا
import-progress = السطور: { $done } من { $total }
import-came-so-far = السطور المستوردة قبل الخلل: { $done } من { $total }؛ أعد استيراد الملف لأخذ الباقي
import-done = { $new ->
    [zero] لا أنشطة جديدة
    [one] نشاط واحد قيد المتابعة من الآن
    [two] نشاطان قيد المتابعة من الآن
    [few] { $new } أنشطة قيد المتابعة من الآن
    [many] { $new } نشاطًا قيد المتابعة من الآن
   *[other] { $new } نشاط قيد المتابعة من الآن
}، والمعروف من قبل { $known }

## جمل تحفظها قاعدة البيانات أو تقولها الخدمة بالإنجليزية

stored-in-progress = أفادت ClearTax بأن المعالجة جارية
stored-succeeded = أفادت ClearTax بصدور شهادة PCSID
stored-failed-without-pcsid = أفادت ClearTax بنجاح النشاط، لكن دون صدور شهادة PCSID
stored-failed = أفادت ClearTax بالفشل
stored-refused-in-a-row = رفضت ClearTax المعرّف مرات متتالية عددها { $times }: { $detail }
stored-refused = رفضت ClearTax المعرّف: { $detail }
stored-no-reason = دون ذكر السبب
stored-not-concluded = لم ينتهِ خلال { $span } من بدء المتابعة
stored-cancelled = أوقف أحد المستخدمين متابعته
stored-watched-again = أعاد أحد المستخدمين متابعته
stored-unauthorized = رفضت ClearTax رمز الوصول (HTTP 401)
stored-forbidden = ليست لمستخدم رمز الوصول صلاحية المدير (Admin) على هذا الرقم الضريبي (HTTP 403)
stored-throttled-for = تطلب ClearTax الانتظار { $span }
stored-throttled = تطلب ClearTax إبطاء الطلبات
stored-no-reply = لم يصل رد: { $detail }
stored-gateway = خطأ في البوابة: { $detail }
stored-server-error = خطأ في الخادم: { $detail }
stored-invalid-response = رد غير صالح: { $detail }
stored-unexpected-status = رمز حالة غير متوقع: { $detail }
stored-body-starts = { $detail }؛ يبدأ النص بـ { $excerpt }
stored-not-utf8 = النص ليس بترميز UTF-8
stored-gzip = النص مضغوط (gzip)
stored-wrong-type = حقل نوعه خاطئ أو مكرر قرب العمود { $column }
stored-empty-body = النص فارغ
stored-not-json = النص ليس JSON
stored-other-type = قيمة ActivityType هي { $excerpt }
stored-no-status = الحقل Status غير موجود
stored-unknown-status = القيمة { $excerpt } للحقل Status غير معروفة
stored-http-400 = HTTP 400 دون قائمة أخطاء مقروءة: { $excerpt }
stored-http-500 = HTTP 500 وحالته ليست FAILED: { $excerpt }
stored-redirect = HTTP { $status }: إعادة توجيه لا تُتبع أبدًا؛ راجع upstream.base_url
stored-webhook-redirect = HTTP { $status }: إعادة توجيه لا تُتبع أبدًا؛ راجع عنوان webhook
stored-webhook-gone = HTTP 410: لم تعد جهة الاستلام موجودة
stored-http = HTTP { $status }: { $excerpt }
stored-http-alone = HTTP { $status }
stored-no-connection-in-time = تعذّر الاتصال في الوقت المحدد: { $detail }
stored-no-answer-in-time = لم يصل الرد في الوقت المحدد: { $detail }
stored-no-answer-within = لم يصل رد خلال { $span } ‏(webhooks.timeout)
stored-no-complete-answer = لم يكتمل الرد خلال { $span } ‏(upstream.request_timeout)
stored-name-not-resolved = تعذّر العثور على عنوان المضيف: { $detail }
stored-tls-failed = فشل اتصال TLS: { $detail }
stored-too-few-descriptors = عدد واصفات الملفات المتاحة لهذه العملية قليل جدًا (`ulimit -n`، LimitNOFILE): { $detail }
stored-no-http-1 = الطرف الآخر لا يدعم HTTP/1.1 المطلوب، وربما يقبل HTTP/2 وحده: { $detail }
stored-no-proxy = لا اتصال بالوكيل { $address } ({ $variable }): { $detail }
stored-proxy-refuses = الوكيل { $address } ({ $variable }) يرفض الاتصال: { $detail }
stored-proxy-password = الوكيل { $address } ({ $variable }) يطلب اسم مستخدم وكلمة مرور: { $detail }
stored-no-connection = لا اتصال: { $detail }
stored-broke-within = انقطع الاتصال أثناء الرد: { $detail }
stored-broke-before = انقطع الاتصال قبل الرد: { $detail }
stored-too-long = الرد أطول من { $size } كيلوبايت
stored-stdout = تعذّرت الكتابة إلى المخرج القياسي: { $detail }
stored-no-credential = لا يوجد في الإعدادات رمز وصول لهذا الرقم الضريبي
stored-vat-restored = عادت ClearTax تستجيب لطلبات هذا الرقم الضريبي
stored-database-unwritable = تتعذّر الكتابة في قاعدة البيانات؛ السبب في السجل، وتُعاد المحاولة حتى تنجح
stored-database-unreadable = تتعذّر القراءة من قاعدة البيانات؛ السبب في السجل، وتُعاد المحاولة حتى تنجح
stored-poller-stuck = توقفت مهمة الاستعلام منذ { $seconds } ث
stored-recorder-stuck = توقفت مهمة التسجيل في قاعدة البيانات منذ { $seconds } ث
stored-title-too-large = المحتوى المُرسَل أكبر من المسموح
stored-title-busy = الطلبات كثيرة جدًا
stored-title-parameter = قيمة لا يمكن استخدامها
stored-title-nothing-here = لا شيء هنا
stored-title-method = الطريقة غير مسموح بها
stored-title-no-activity = لا يوجد نشاط كهذا
stored-title-ambiguous = النشاط مسجّل لأكثر من رقم ضريبي
stored-title-state = حالة النشاط لا تسمح بذلك
stored-title-no-event = لا يوجد إشعار كهذا
stored-title-unavailable = لا يمكن استخدام قاعدة البيانات
stored-title-slow = استغرق الطلب وقتًا أطول من اللازم
stored-title-search = يستغرق البحث وقتًا أطول من اللازم
stored-title-stale = النموذج قديم
stored-detail-form-too-large = النموذج أطول من { $size } كيلوبايت. للملفات الأطول استخدم الأمر `pcsid-watch preflight FILE`.
stored-detail-busy = الطلبات المتزامنة كثيرة جدًا. لم يُنفَّذ شيء؛ أعد المحاولة لاحقًا.
stored-detail-no-path = لا شيء في هذا المسار. يصف /openapi.json ما هو موجود.
stored-detail-method = لا يقبل هذا المسار هذه الطريقة؛ والترويسة Allow تذكر ما يقبله.
stored-detail-no-activity-of = النشاط { $id } غير معروف للرقم الضريبي { $vat }.
stored-detail-no-activity = النشاط { $id } غير معروف.
stored-detail-state = حالة النشاط { $id } للرقم الضريبي { $vat } هي { $state }: { $detail }.
stored-rule-poll = لا يُستعلم إلا عن نشاط قيد المتابعة
stored-rule-cancel = لا تُوقف إلا متابعة نشاط قيد المتابعة
stored-rule-retry = لا تُعاد إلا متابعة نشاط رُفض معرّفه أو انتهت مهلته أو أُوقفت متابعته
stored-detail-no-event-for = الإشعار { $id } غير معروف لدى { $sink }.
stored-detail-no-event = الإشعار { $id } غير معروف.
stored-detail-unavailable = لا يمكن استخدام قاعدة البيانات الآن، والسبب في سجل الخدمة. حاول لاحقًا.
stored-detail-slow = استغرق الأمر وقتًا أطول من اللازم، وربما نُفّذ المطلوب؛ أعد الاستعلام لتتأكد.
stored-detail-search = يستغرق البحث وقتًا أطول من اللازم. ضيّقه بالرقم الضريبي أو الحالة أو التاريخ.
stored-detail-choice = لا يوجد خيار كهذا؛ اختر من القائمة.
stored-detail-date = يُكتب التاريخ هكذا: 2026-05-26.
stored-detail-activity-id = معرّف النشاط { $value } لا يصلح: يجب أن يكون طوله من حرف واحد إلى 64 حرفًا من A-Z وa-z و0-9 و`_` و`-`.
stored-detail-vat = الرقم الضريبي { $value } لا يصلح: يجب أن يكون طوله من حرف واحد إلى 32 حرفًا من A-Z وa-z و0-9 و`-`.
stored-advice-no-reply = تحقق من الشبكة وDNS والوكيل، ومن أن upstream.base_url يسمّي المضيف الصحيح
stored-advice-gateway = لدى ClearTax أو لدى وكيل أمامها خلل: تحقق من الوكيل، واسأل ClearTax إن استمر
stored-advice-server-error = لدى ClearTax خلل: اسألها إن استمر، وتحقق من صحة upstream.base_url
stored-advice-invalid = تحقق من أن upstream.base_url هو واجهة البرمجة نفسها وأن لا صفحة دخول أو وكيل يجيب مكانها
stored-advice-unexpected = تحقق من المضيف والمسار في upstream.base_url وأن لا صفحة دخول أو وكيل يجيب مكانه
stored-cli-no-activity-of = النشاط `{ $id }` غير معروف للرقم الضريبي { $vat }: يعرض `pcsid-watch list` المعروف منها
stored-cli-no-activity = النشاط `{ $id }` غير معروف: يعرض `pcsid-watch list` المعروف منها
stored-cli-no-event-for = الإشعار `{ $id }` غير معروف لدى { $sink }: يعرض `pcsid-watch deliveries` المعروف منها
stored-cli-no-event = الإشعار `{ $id }` غير معروف: يعرض `pcsid-watch deliveries` المعروف منها
stored-cli-ambiguous = النشاط `{ $id }` مسجّل لأكثر من رقم ضريبي ({ $vats }): حدّد أحدها بالخيار ‎--vat
stored-cli-state = حالة النشاط `{ $id }` للرقم الضريبي { $vat } هي { $state }: { $detail }
stored-detail-ambiguous = النشاط { $id } مسجّل لأكثر من رقم ضريبي ({ $vats }): حدّد أحدها بالوسيط `vat`.
stored-detail-stale = هذا النموذج من تشغيل سابق للخدمة. عُد وحدّث الصفحة ثم حاول من جديد.

## الشهادات

nav-certificates = الشهادات
certificates-lead = يصدر الجهاز الفواتير ما دامت شهادته (PCSID) سارية، ونجاح لاحق للجهاز نفسه يحل محلها.
certificates-ended = منتهية
certificates-within = خلال { $n ->
    [zero] { $n } يوم
    [one] يوم واحد
    [two] يومين
    [few] { $n } أيام
    [many] { $n } يومًا
   *[other] { $n } يوم
}
certificates-soon = تنتهي خلال 90 يومًا
certificates-none = لا شهادة منتهية، ولا شهادة تنتهي قريبًا.
certificates-more = وشهادات أخرى عددها { $n }: { $command }
certificates-year = الاثنا عشر شهرًا القادمة
certificates-by-day = الشهادات بحسب يوم انتهائها.
certificates-subscribe = اشترك في التقويم
certificates-calendar = تقويم: { $n ->
    [zero] لا شهادات تنتهي
    [one] شهادة واحدة تنتهي
    [two] شهادتان تنتهيان
    [few] { $n } شهادات تنتهي
    [many] { $n } شهادة تنتهي
   *[other] { $n } شهادة تنتهي
} في الاثني عشر شهرًا القادمة. الأرقام في الجدول أدناه.
certificate-ends = تنتهي
certificate-from = من النشاط
certificate-reminded = آخر تذكير
certificate-imported = مستوردة
certificate-day = اليوم
concern-certificates-ended = { $n ->
    [zero] لا شهادات منتهية.
    [one] انتهت شهادة واحدة: لم يعد جهازها يصدر الفواتير.
    [two] انتهت شهادتان: لم يعد جهازاهما يصدران الفواتير.
    [few] انتهت { $n } شهادات: لم تعد أجهزتها تصدر الفواتير.
    [many] انتهت { $n } شهادة: لم تعد أجهزتها تصدر الفواتير.
   *[other] انتهت { $n } شهادة: لم تعد أجهزتها تصدر الفواتير.
}
concern-certificates-soon = { $n ->
    [zero] لا شهادات تنتهي خلال 14 يومًا.
    [one] شهادة واحدة تنتهي خلال 14 يومًا.
    [two] شهادتان تنتهيان خلال 14 يومًا.
    [few] { $n } شهادات تنتهي خلال 14 يومًا.
    [many] { $n } شهادة تنتهي خلال 14 يومًا.
   *[other] { $n } شهادة تنتهي خلال 14 يومًا.
}
todo-see-certificates = اعرضها

## فحص بيانات التسجيل

nav-preflight = فحص بيانات التسجيل
preflight-lead = قبل استهلاك رمز التحقق (OTP): هل البيانات كما تريدها ClearTax والهيئة؟ لا يُرسل شيء ولا يُحفظ.
preflight-found = نتيجة الفحص
preflight-nothing = لا يوجد خطأ في هذه البيانات.
preflight-errors = { $n ->
    [zero] لا أخطاء
    [one] خطأ واحد
    [two] خطآن
    [few] { $n } أخطاء
    [many] { $n } خطأ
   *[other] { $n } خطأ
}
preflight-warnings = { $n ->
    [zero] لا تنبيهات
    [one] تنبيه واحد
    [two] تنبيهان
    [few] { $n } تنبيهات
    [many] { $n } تنبيهًا
   *[other] { $n } تنبيه
}
finding-error = خطأ
finding-warning = تنبيه
finding-note = ملاحظة
preflight-more = وأجهزة أخرى عددها { $n }: { $command }
preflight-details = البيانات
preflight-not-given = غير محدد
preflight-paste = أو الصق ملفًا بصيغة JSON أو CSV
preflight-paste-note = إذا وُجد نص هنا فلا تُفحص الحقول أعلاه.
preflight-check = افحص
preflight-keys = المفاتيح المعروفة: { $n }، وغير المعروفة: { $unknown }
preflight-device = الجهاز أو السطر { $line }
preflight-given-as = ورد باسم { $key }

## ما لا يصلح في ملف أو إعداد أو مدخل

place-whole-file = الملف كله
place-standard-input = المدخل القياسي
place-line = السطر { $line }
place-line-column = السطر { $line }، العمود { $column }
complaint-file-json = ليس JSON صحيحًا: { $reason }
complaint-no-file = لا يوجد ملف بهذا الاسم
complaint-no-permission = ليس لهذا المستخدم إذن بذلك
complaint-is-folder = هو مجلد لا ملف
complaint-json-end-list = ينتهي النص قبل إغلاق القوس المربع
complaint-json-end-object = ينتهي النص قبل إغلاق القوس المعقوص
complaint-json-end-string = ينتهي النص قبل إغلاق علامة الاقتباس
complaint-json-end-value = ينتهي النص حيث يجب أن تكون قيمة
complaint-json-colon = يجب أن تأتي `:` بعد المفتاح
complaint-json-list = يجب أن تأتي هنا فاصلة `,` أو يُغلق القوس المربع
complaint-json-object = يجب أن تأتي هنا فاصلة `,` أو يُغلق القوس المعقوص
complaint-json-word = كلمة غير معروفة: لا يُكتب دون علامتي اقتباس إلا الأعداد وtrue وfalse وnull
complaint-json-value = يجب أن تكون هنا قيمة
complaint-json-quote = يجب أن تكون هنا علامة اقتباس `"`
complaint-json-key = يجب أن يكون المفتاح نصًا بين علامتي اقتباس
complaint-json-comma = فاصلة لا شيء بعدها
complaint-json-more = نص زائد بعد تمام القيمة
complaint-json-escape = حرف لا يصلح بعد الشرطة المائلة العكسية `\`
complaint-json-control = محرف تحكّم داخل نص، كسطر جديد أو علامة جدولة: اكتبه `\n` أو `\t`
complaint-json-number = العدد مكتوب خطأً
complaint-json-number-range = العدد أكبر مما يُقبل
complaint-json-code-point = محرف Unicode لا وجود له
complaint-json-surrogate = رمز `\u` ناقص: ينقص نصفه الثاني
complaint-json-hex = رمز `\u` ناقص
complaint-json-depth = أقواس متداخلة أكثر مما يُقبل
complaint-file-csv = ليس CSV صحيحًا
complaint-file-not-utf8 = الحقل { $nth } ليس بترميز UTF-8
complaint-file-fields = عدد حقوله { $count }، وعدد حقول سطر العناوين { $header }
complaint-file-long = هو أطول من { $size } ميغابايت
complaint-file-empty = هو فارغ
complaint-file-no-device = لا جهاز فيه
complaint-file-devices = أكثر ما يُقبل في ملف واحد { $most } جهاز
complaint-file-object = يُكتب الجهاز كائنًا فيه DeviceDetails وOrganizationDetails
complaint-file-foreign = ليس بين مفاتيحه ما يخص التسجيل (أولها `{ $key }`)؛ يطبع الخيار ‎--example ملفًا صحيحًا
complaint-preflight-one = خطأ واحد؛ صحّحه قبل استهلاك رمز التحقق (OTP)
complaint-preflight-many = عدد الأخطاء { $n }؛ صحّحها قبل استهلاك رمز التحقق (OTP)
complaint-cannot-be-read = تتعذّر قراءة { $file }: { $reason }
complaint-config-cannot-be-read = تتعذّر قراءة ملف الإعدادات `{ $file }`: { $reason }؛ حدّد غيره بالخيار ‎--config
complaint-number-range = { $n } ليس ضمن { $range }
complaint-number-digit = يجب أن تكون عددًا صحيحًا
complaint-number-large = العدد أكبر مما يُقبل
complaint-number-empty = يجب أن تكون عددًا صحيحًا
complaint-time-such-as = يجب أن تكون مدة مثل 12h أو 90d
complaint-device-id = معرّف الجهاز { $value } لا يصلح: يجب ألا يزيد طوله على { $n } حرفًا وألا يحوي أحرف تحكّم
complaint-reference = المرجع { $value } لا يصلح: يجب ألا يزيد طوله على { $n } حرفًا وألا يحوي أحرف تحكّم
complaint-file-exists = `{ $file }` موجود من قبل: سمِّ ملفًا آخر
complaint-no-webhook = لا يوجد webhook باسم `{ $name }` في { $file }: { $known }
complaint-no-webhooks = لا يوجد webhook باسم `{ $name }` في { $file }، ولا غيره
complaint-no-daemon = لا خدمة تجيب: { $reason }؛ هل هي تعمل؟
complaint-no-time = `{ $text }` ليس وقتًا: اكتبه هكذا 2026-05-26 أو 2026-05-26T10:00:00Z
complaint-set-range = القيمة `{ $value }` لا تصلح: يجب أن تكون من { $from } إلى { $until }
complaint-set-number-range = القيمة { $value } لا تصلح: يجب أن تكون من { $from } إلى { $until }
complaint-set-below-one = القيمة { $value } لا تصلح: يجب أن تكون 0 أو أكثر ودون 1
complaint-set-one-or-more = القيمة 0 لا تصلح: يجب أن تكون 1 أو أكثر
complaint-set-unknown = هذا المفتاح غير معروف
complaint-set-unknown-expected = هذا المفتاح غير معروف، والمعروف { $known }
complaint-set-unknown-one-of = هذا المفتاح غير معروف، والمعروف { $known }
complaint-set-whole-number = القيمة `{ $value }` لا تصلح: يجب أن تكون عددًا صحيحًا، 0 أو أكثر
complaint-set-number = القيمة `{ $value }` لا تصلح: يجب أن تكون عددًا
complaint-set-boolean = القيمة `{ $value }` لا تصلح: يجب أن تكون true أو false
complaint-set-text = القيمة `{ $value }` لا تصلح: يجب أن تكون نصًا بين علامتي اقتباس
complaint-set-duration = القيمة `{ $value }` لا تصلح: يجب أن تكون مدة مثل "5ms" أو "5s" أو "10m" أو "72h" أو "400d"
complaint-set-section = القيمة ({ $found }) لا تصلح: يجب أن تكون قسمًا له مفاتيحه
complaint-set-list = القيمة ({ $found }) لا تصلح: يجب أن تكون قائمة بين قوسين مربعين
complaint-set-name = الاسم `{ $value }` لا يصلح: يجب أن يكون طوله من حرف واحد إلى 64 حرفًا من A-Z وa-z و0-9 و`_` و`-` و`.`
complaint-set-twice = الاسم `{ $value }` مكرر: يجب أن تختلف الأسماء
complaint-set-secret-empty = هو فارغ: حدّد الملف الذي فيه السر
complaint-set-secret-both = لا يجتمع { $one } و{ $other }: أبقِ أحدهما
complaint-set-secret-missing = ينقص { $key }: حدّد الملف الذي فيه السر
complaint-set-secret-unreadable = تتعذّر قراءة `{ $file }`: ضع السر فيه واجعل هذا المستخدم قادرًا على قراءته
complaint-set-secret-no-folder = تتعذّر قراءة `{ $file }` لأن المتغير CREDENTIALS_DIRECTORY غير معيّن: لا يعيّنه systemd إلا لخدماته؛ وللأوامر عيّنه بمسار مجلد الأسرار
complaint-set-public = يمكن الوصول إلى `{ $address }` من أجهزة أخرى: حدّد http.token_file أو استخدم 127.0.0.1
complaint-set-address = القيمة `{ $value }` لا تصلح: يجب أن تكون عنوانًا ومنفذًا مثل 127.0.0.1:8088، أو فارغة
complaint-set-zone = القيمة `{ $value }` لا تصلح: يجب أن تكون اسمًا من قاعدة المناطق الزمنية IANA مثل Asia/Riyadh
complaint-set-language = القيمة `{ $value }` لا تصلح: يجب أن تكون en أو ar
complaint-set-log-format = القيمة `{ $value }` لا تصلح: يجب أن تكون text أو json
complaint-set-log-level = القيمة `{ $value }` لا تصلح: يجب أن تكون error أو warn أو info أو debug أو trace
complaint-set-toml = ليس TOML صحيحًا عند { $place }: { $reason }
complaint-set-toml-place = ليس TOML صحيحًا عند { $place }
complaint-set-toml-alone = ليس TOML صحيحًا
complaint-set-variable = متغير البيئة { $name } لا يسمّي مفتاحًا من مفاتيح الإعدادات
