//! The details of a registration as a table: how each is called, what must hold for it, and how it is explained.

/// A text in English and in Arabic. Constant, unlike the texts of the catalogue.
pub(super) type Texts = (&'static str, &'static str);

/// A detail that a registration sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "`FIELDS` says what each is")]
pub enum Field {
    HeaderVat,
    CommonName,
    EgsSerialNumber,
    Location,
    Industry,
    InvoiceType,
    Vat,
    OrganizationName,
    OrganizationUnit,
    SellerIdScheme,
    SellerId,
    Street,
    BuildingNumber,
    AdditionalNumber,
    District,
    City,
    PostalCode,
    Country,
    Otp,
}

/// Whether a detail may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It may.
    Optional,
    /// Without it the registration fails; by this rule, if one is known.
    Required(Option<&'static str>),
    /// Other details decide; see `checks`.
    Elsewhere,
}

/// Something that must hold for a value.
#[derive(Debug)]
pub(super) struct Shape {
    /// Whether it holds. Values come without spaces around them and with ASCII digits.
    pub(super) holds: fn(&str) -> bool,
    /// What is wrong if it does not.
    pub(super) problem: Texts,
    /// The rule behind it, if one is known.
    pub(super) rule: Option<&'static str>,
    /// Whether it is only suspicious.
    pub(super) is_warning: bool,
}

/// All that is known of a detail.
#[derive(Debug)]
pub struct Spec {
    /// Which one.
    pub field: Field,
    /// Its path in what is sent to ClearTax; for an address, the most likely one.
    pub path: &'static str,
    /// Other names of it, as [`plain`] writes them.
    pub(super) synonyms: &'static [&'static str],
    pub(super) presence: Presence,
    pub(super) shapes: &'static [Shape],
    /// Whether it is written in ASCII digits and letters, so that Arabic digits do not belong there.
    pub(super) is_code: bool,
    /// Whether it becomes a field of the certificate that holds 64 characters.
    pub(super) is_in_certificate: bool,
    /// What it is, as an accountant says it.
    pub name: Texts,
    /// How it must look.
    pub form: Texts,
    /// What it is good for and where to find it.
    pub about: Texts,
    /// A value that is right.
    pub example: &'static str,
}

const ERROR: Shape = Shape { holds: |_| true, problem: ("", ""), rule: None, is_warning: false };

/// Every detail, in the order in which people fill them in.
pub static FIELDS: [Spec; 19] = [
    Spec {
        field: Field::HeaderVat,
        path: "vat",
        synonyms: &["xvat", "vatheader"],
        presence: Presence::Optional,
        shapes: &[],
        is_code: true,
        is_in_certificate: false,
        name: ("VAT number in the request's header", "الرقم الضريبي في ترويسة الطلب"),
        form: ("the same VAT number as in the details", "الرقم الضريبي نفسه الوارد في البيانات"),
        about: (
            "ClearTax takes the VAT number as the header `vat` of the request as well. Give it here to have both compared.",
            "تأخذ ClearTax الرقم الضريبي أيضًا من الترويسة vat في الطلب. أدخله هنا للمقارنة بينهما.",
        ),
        example: "310122393500003",
    },
    Spec {
        field: Field::CommonName,
        path: "DeviceDetails.CommonName",
        synonyms: &["commonname", "cn", "devicename", "assettrackingnumber"],
        presence: Presence::Required(Some("Invalid-CSR")),
        shapes: &[],
        is_code: false,
        is_in_certificate: true,
        name: ("Device name", "اسم الجهاز"),
        form: ("not empty, at most 64 characters", "غير فارغ، و64 حرفًا على الأكثر"),
        about: (
            "Your name or asset number for the till or server. It stands in the certificate; give each device its own.",
            "اسم الجهاز أو رقم الأصل لديك. يظهر في الشهادة؛ أعطِ كل جهاز اسمًا خاصًا به.",
        ),
        example: "Riyadh-Till-07",
    },
    Spec {
        field: Field::EgsSerialNumber,
        path: "DeviceDetails.EgsSerialNumber",
        synonyms: &[
            "egsserialnumber",
            "egsserial",
            "egsserialno",
            "serialnumber",
            "deviceserialnumber",
            "egs",
        ],
        presence: Presence::Required(Some("Invalid-CSR")),
        shapes: &[
            Shape {
                holds: has_three_parts,
                problem: (
                    "It does not have the three parts 1-…|2-…|3-….",
                    "ليس مكوّنًا من الأجزاء الثلاثة 1-…|2-…|3-….",
                ),
                rule: Some("Invalid-CSR"),
                ..ERROR
            },
            Shape {
                holds: |text| parts(text).is_none_or(|parts| parts.iter().all(|part| !part.is_empty())),
                problem: ("One of its three parts is empty.", "أحد أجزائه الثلاثة فارغ."),
                rule: Some("Invalid-CSR"),
                ..ERROR
            },
            Shape {
                holds: |text| {
                    parts(text).is_none_or(|[maker, model, serial]| {
                        is_alphanumeric(maker)
                            && is_alphanumeric(model)
                            && is_alphanumeric(&serial.replace('-', ""))
                    })
                },
                problem: (
                    "One of its parts has other characters than Latin letters and digits.",
                    "في أحد أجزائه رموز غير الحروف اللاتينية والأرقام.",
                ),
                rule: Some("Invalid-CSR"),
                ..ERROR
            },
            Shape {
                holds: |text| parts(text).is_none_or(|[_, _, serial]| !serial.contains('-')),
                problem: (
                    "The serial has a hyphen. ZATCA's own examples have some, ClearTax's documented pattern allows none.",
                    "في الرقم التسلسلي شَرطة (-). توجد في أمثلة الهيئة، أما الصيغة الموثقة لدى ClearTax فلا تسمح بها.",
                ),
                rule: Some("Invalid-CSR"),
                is_warning: true,
            },
        ],
        is_code: true,
        is_in_certificate: true,
        name: ("EGS serial number", "الرقم التسلسلي لوحدة الفوترة (EGS)"),
        form: (
            "1-MANUFACTURER|2-MODEL|3-SERIAL, each part of Latin letters and digits alone",
            "1-الشركة المصنعة|2-الطراز|3-الرقم التسلسلي، وكل جزء من حروف لاتينية وأرقام فقط",
        ),
        about: (
            "Maker, model and serial number of the device. ClearTax makes one request for each VAT number and serial: a \
             second registration of the same serial answers the existing device.",
            "الشركة المصنعة والطراز والرقم التسلسلي للجهاز. تنشئ ClearTax طلبًا واحدًا لكل رقم ضريبي ورقم تسلسلي؛ وتسجيل الرقم \
             نفسه ثانية يعيد الجهاز الموجود.",
        ),
        example: "1-Acme|2-POS5|3-A1B2C3D4",
    },
    Spec {
        field: Field::Location,
        path: "DeviceDetails.Location",
        synonyms: &["location", "locationaddress", "registeredaddress", "branchaddress"],
        presence: Presence::Required(Some("Invalid-CSR")),
        shapes: &[],
        is_code: false,
        is_in_certificate: false,
        name: ("Location of the device", "موقع الجهاز"),
        form: ("not empty", "غير فارغ"),
        about: (
            "The branch where the device stands; the short national address (such as RRRD2929) or a line of text.",
            "الفرع الذي يوجد فيه الجهاز؛ العنوان الوطني المختصر (مثل RRRD2929) أو سطر من النص.",
        ),
        example: "RRRD2929",
    },
    Spec {
        field: Field::Industry,
        path: "DeviceDetails.Industry",
        synonyms: &["industry", "industrybusinesscategory", "businesscategory", "sector"],
        presence: Presence::Required(Some("Invalid-CSR")),
        shapes: &[],
        is_code: false,
        is_in_certificate: false,
        name: ("Industry", "النشاط التجاري"),
        form: ("not empty", "غير فارغ"),
        about: (
            "What the business that invoices with the device does.",
            "مجال عمل المنشأة التي تصدر الفواتير بهذا الجهاز.",
        ),
        example: "Retail",
    },
    Spec {
        field: Field::InvoiceType,
        path: "DeviceDetails.InvoiceType",
        synonyms: &["invoicetype", "invoicetypes", "documenttype", "functionmap"],
        presence: Presence::Optional,
        shapes: &[
            Shape {
                holds: |text| text.len() == 4 && text.bytes().all(|byte| matches!(byte, b'0' | b'1')),
                problem: ("It is not four digits of 0 and 1.", "ليس أربع خانات من 0 و1."),
                rule: Some("Invalid-CSR"),
                ..ERROR
            },
            Shape {
                holds: |text| text.ends_with("00"),
                problem: (
                    "Its last two digits are not 0; they are reserved.",
                    "آخر خانتين ليستا 0، وهما محجوزتان.",
                ),
                rule: Some("Invalid-CSR"),
                ..ERROR
            },
            Shape {
                holds: |text| text != "0000",
                problem: ("It names no kind of invoice.", "لا يحدد أي نوع من الفواتير."),
                rule: Some("Invalid-CSR"),
                ..ERROR
            },
        ],
        is_code: true,
        is_in_certificate: false,
        name: ("Invoice type", "نوع الفواتير"),
        form: (
            "1000 (standard), 0100 (simplified) or 1100 (both)",
            "1000 (ضريبية) أو 0100 (مبسطة) أو 1100 (كلتاهما)",
        ),
        about: (
            "Which invoices the device will issue. It decides which of the six compliance checks are run. Left out, it is 1100.",
            "أنواع الفواتير التي سيصدرها الجهاز، وبها تتحدد فحوص الامتثال التي تُجرى. إن تُرك فارغًا فهو 1100.",
        ),
        example: "1100",
    },
    Spec {
        field: Field::Vat,
        path: "OrganizationDetails.Vat",
        synonyms: &[
            "vat",
            "vatnumber",
            "vatno",
            "vatregistrationnumber",
            "organizationidentifier",
            "organisationidentifier",
            "taxnumber",
            "trn",
            "groupvat",
            "companyid",
        ],
        presence: Presence::Elsewhere,
        shapes: &[Shape {
            holds: is_vat,
            problem: (
                "It is not 15 digits of which the first and the last are 3.",
                "ليس 15 رقمًا يبدأ وينتهي بالرقم 3.",
            ),
            rule: Some("BR-KSA-40"),
            ..ERROR
        }],
        is_code: true,
        is_in_certificate: false,
        name: ("VAT number", "الرقم الضريبي"),
        form: ("15 digits, the first and the last a 3", "15 رقمًا، أولها وآخرها 3"),
        about: (
            "The VAT registration number, or that of the VAT group. ClearTax must know it before the device is registered, and \
             the one-time password must be made for it.",
            "رقم تسجيل ضريبة القيمة المضافة، أو رقم المجموعة الضريبية. يجب أن تعرفه ClearTax قبل تسجيل الجهاز، وأن يكون رمز التحقق (OTP) \
             صادرًا له.",
        ),
        example: "310122393500003",
    },
    Spec {
        field: Field::OrganizationName,
        path: "OrganizationDetails.OrganizationName",
        synonyms: &[
            "organizationname",
            "organisationname",
            "companyname",
            "legalname",
            "registrationname",
            "vatdisplayname",
            "taxpayername",
        ],
        presence: Presence::Optional,
        shapes: &[],
        is_code: false,
        is_in_certificate: true,
        name: ("Name of the organization", "اسم المنشأة"),
        form: ("at most 64 characters", "64 حرفًا على الأكثر"),
        about: (
            "The taxpayer's registered name. It stands in the certificate.",
            "الاسم المسجل للمكلف، ويظهر في الشهادة.",
        ),
        example: "Acme Trading Co.",
    },
    Spec {
        field: Field::OrganizationUnit,
        path: "OrganizationDetails.OrganizationUnit",
        synonyms: &[
            "organizationunit",
            "organisationunit",
            "organizationunitname",
            "organisationunitname",
            "organizationalunit",
            "organizationalunitname",
            "branchname",
            "branch",
            "ou",
            "tin",
        ],
        presence: Presence::Elsewhere,
        shapes: &[],
        is_code: false,
        is_in_certificate: true,
        name: ("Branch, or TIN in a VAT group", "الفرع، أو الرقم المميز (TIN) في المجموعة الضريبية"),
        form: (
            "the branch's name; where the 11th digit of the VAT number is 1, the member's TIN of 10 digits",
            "اسم الفرع؛ وإذا كانت الخانة 11 من الرقم الضريبي 1 فالرقم المميز (TIN) للعضو من 10 أرقام",
        ),
        about: (
            "For a VAT group (the 11th digit of its number is 1) ZATCA wants the TIN of the member that the device belongs to. \
             For everybody else it is free text.",
            "في المجموعة الضريبية (الخانة 11 من رقمها 1) تطلب الهيئة الرقم المميز (TIN) للعضو الذي يتبعه الجهاز، ولغيرها نص حر.",
        ),
        example: "Riyadh Branch",
    },
    Spec {
        field: Field::SellerIdScheme,
        path: "OrganizationDetails.SellerIdScheme",
        synonyms: &[
            "selleridscheme",
            "selleridtype",
            "scheme",
            "schemeid",
            "idtype",
            "identificationtype",
            "selleridschemeid",
            "identificationscheme",
            "licensetype",
        ],
        presence: Presence::Elsewhere,
        shapes: &[],
        is_code: true,
        is_in_certificate: false,
        name: ("Kind of registration number", "نوع رقم التسجيل"),
        form: (
            "CRN (commercial registration), MOM, MLS, 700, SAG or OTH",
            "CRN (سجل تجاري) أو MOM أو MLS أو 700 أو SAG أو OTH",
        ),
        about: (
            "CRN: commercial registration. MOM: licence of the ministry of municipalities. MLS: licence of the ministry of human \
             resources. 700: the 700 number. SAG: licence of the ministry of investment. OTH: another.",
            "CRN: السجل التجاري. MOM: رخصة وزارة البلديات. MLS: رخصة وزارة الموارد البشرية. 700: رقم 700. SAG: رخصة وزارة \
             الاستثمار. OTH: غير ذلك.",
        ),
        example: "CRN",
    },
    Spec {
        field: Field::SellerId,
        path: "OrganizationDetails.SellerId",
        synonyms: &[
            "sellerid",
            "selleridvalue",
            "selleridnumber",
            "idvalue",
            "identificationnumber",
            "identificationvalue",
            "registrationnumber",
            "licensenumber",
            "licencenumber",
            "partyidentificationid",
            "value",
        ],
        presence: Presence::Elsewhere,
        shapes: &[],
        is_code: true,
        is_in_certificate: false,
        name: ("Registration number of the seller", "رقم تسجيل البائع"),
        form: (
            "letters and digits alone, exactly one number; a CRN has 10 digits",
            "حروف وأرقام فقط، رقم واحد لا غير؛ والسجل التجاري (CRN) من 10 أرقام",
        ),
        about: (
            "Usually the branch's commercial registration. Give exactly one: two make ZATCA's validator break off.",
            "السجل التجاري للفرع عادةً. أدخل رقمًا واحدًا فقط: وجود رقمين يوقف مدقق الهيئة.",
        ),
        example: "1010010000",
    },
    Spec {
        field: Field::Street,
        path: "OrganizationDetails.Address.Street",
        synonyms: &["street", "streetname", "addressline1", "addressstreet"],
        presence: Presence::Required(Some("BR-KSA-09")),
        shapes: &[],
        is_code: false,
        is_in_certificate: false,
        name: ("Street", "الشارع"),
        form: ("not empty", "غير فارغ"),
        about: ("From the national address.", "من العنوان الوطني."),
        example: "Prince Sultan Street",
    },
    Spec {
        field: Field::BuildingNumber,
        path: "OrganizationDetails.Address.BuildingNumber",
        synonyms: &["buildingnumber", "buildingno", "building", "buildingnum"],
        presence: Presence::Required(Some("BR-KSA-09")),
        shapes: &[Shape {
            holds: |text| is_digits(text, 4),
            problem: ("It is not four digits.", "ليس 4 أرقام."),
            rule: Some("BR-KSA-37"),
            ..ERROR
        }],
        is_code: true,
        is_in_certificate: false,
        name: ("Building number", "رقم المبنى"),
        form: ("4 digits", "4 أرقام"),
        about: ("From the national address.", "من العنوان الوطني."),
        example: "2322",
    },
    Spec {
        field: Field::AdditionalNumber,
        path: "OrganizationDetails.Address.AdditionalNumber",
        synonyms: &[
            "additionalnumber",
            "additionalno",
            "secondarynumber",
            "plotidentification",
            "plotnumber",
        ],
        presence: Presence::Optional,
        shapes: &[Shape {
            holds: |text| is_digits(text, 4),
            problem: ("It is not four digits.", "ليس 4 أرقام."),
            rule: Some("BR-KSA-64"),
            ..ERROR
        }],
        is_code: true,
        is_in_certificate: false,
        name: ("Additional number", "الرقم الإضافي"),
        form: ("4 digits where it is given", "4 أرقام إن وُجد"),
        about: ("The secondary number of the national address.", "الرقم الفرعي في العنوان الوطني."),
        example: "6789",
    },
    Spec {
        field: Field::District,
        path: "OrganizationDetails.Address.District",
        synonyms: &[
            "district",
            "citysubdivision",
            "citysubdivisionname",
            "neighborhood",
            "neighbourhood",
            "subdivision",
        ],
        presence: Presence::Required(Some("BR-KSA-09")),
        shapes: &[],
        is_code: false,
        is_in_certificate: false,
        name: ("District", "الحي"),
        form: ("not empty", "غير فارغ"),
        about: ("From the national address.", "من العنوان الوطني."),
        example: "Al-Murabba",
    },
    Spec {
        field: Field::City,
        path: "OrganizationDetails.Address.City",
        synonyms: &["city", "cityname", "town"],
        presence: Presence::Required(Some("BR-KSA-09")),
        shapes: &[],
        is_code: false,
        is_in_certificate: false,
        name: ("City", "المدينة"),
        form: ("not empty", "غير فارغ"),
        about: ("From the national address.", "من العنوان الوطني."),
        example: "Riyadh",
    },
    Spec {
        field: Field::PostalCode,
        path: "OrganizationDetails.Address.PostalCode",
        synonyms: &["postalcode", "postcode", "zip", "zipcode", "postalzone"],
        presence: Presence::Required(Some("BR-KSA-09")),
        shapes: &[Shape {
            holds: |text| is_digits(text, 5),
            problem: ("It is not five digits.", "ليس 5 أرقام."),
            rule: Some("BR-KSA-66"),
            ..ERROR
        }],
        is_code: true,
        is_in_certificate: false,
        name: ("Postal code", "الرمز البريدي"),
        form: ("5 digits", "5 أرقام"),
        about: ("From the national address.", "من العنوان الوطني."),
        example: "23333",
    },
    Spec {
        field: Field::Country,
        path: "OrganizationDetails.Address.Country",
        synonyms: &["country", "countrycode", "countryname", "identificationcode"],
        presence: Presence::Required(Some("BR-KSA-09")),
        shapes: &[Shape {
            holds: |text| text == "SA",
            problem: ("It is not SA.", "ليس SA."),
            rule: Some("BR-KSA-09"),
            ..ERROR
        }],
        is_code: true,
        is_in_certificate: false,
        name: ("Country", "الدولة"),
        form: ("SA", "SA"),
        about: ("The code of Saudi Arabia, in capitals.", "رمز المملكة العربية السعودية بحروف لاتينية كبيرة."),
        example: "SA",
    },
    Spec {
        field: Field::Otp,
        path: "Otp",
        synonyms: &["otp", "onetimepassword"],
        presence: Presence::Optional,
        shapes: &[
            Shape {
                holds: |text| !text.is_empty(),
                problem: ("It is empty.", "فارغ."),
                rule: Some("Missing-OTP"),
                ..ERROR
            },
            Shape {
                holds: |text| is_digits(text, 6),
                problem: (
                    "It is not six digits, as the Fatoora portal makes them.",
                    "ليس 6 أرقام كما تصدرها بوابة فاتورة.",
                ),
                rule: Some("Invalid-OTP"),
                is_warning: true,
            },
        ],
        is_code: true,
        is_in_certificate: false,
        name: ("One-time password", "رمز التحقق (OTP)"),
        form: (
            "6 digits from the Fatoora portal, made less than an hour ago and not used yet",
            "6 أرقام من بوابة فاتورة، لم تمضِ عليها ساعة ولم تُستخدم",
        ),
        about: (
            "It lives one hour and is spent by the attempt, so have everything else checked first: it may be left out here. It is \
             never shown or kept.",
            "صالح ساعة واحدة وتستهلكه المحاولة، فافحص كل ما عداه أولًا؛ ويمكن تركه هنا. لا يُعرض ولا يُحفظ أبدًا.",
        ),
        example: "123456",
    },
];

/// The kinds of registration numbers that ZATCA knows (BR-KSA-08), each with other names of it.
pub(super) const SCHEMES: [(&str, &[&str]); 6] = [
    ("CRN", &["crn", "crnumber", "cr", "commercialregistration", "commercialregistrationnumber"]),
    ("MOM", &["mom", "momra", "momralicense", "momralicence", "momrah"]),
    ("MLS", &["mls", "mlsd", "mhrsd", "mlsdlicense"]),
    ("700", &["700", "700number", "number700", "sevenhundred"]),
    ("SAG", &["sag", "sagia", "misa", "sagialicense", "misalicense"]),
    ("OTH", &["oth", "otherid"]),
];

/// What is known of a detail.
pub fn spec(field: Field) -> &'static Spec {
    // One row a field, in the order of the enum: a test holds them against each other.
    FIELDS.get(field as usize).unwrap_or(&FIELDS[0])
}

/// In lower case and without signs: `postal_code` and `PostalCode` are one key.
pub(super) fn plain(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn parts(text: &str) -> Option<[&str; 3]> {
    let mut parts = text.split('|');
    let found = [
        parts.next()?.strip_prefix("1-")?,
        parts.next()?.strip_prefix("2-")?,
        parts.next()?.strip_prefix("3-")?,
    ];
    parts.next().is_none().then_some(found)
}

fn has_three_parts(text: &str) -> bool {
    parts(text).is_some()
}

/// The third part of an EGS serial number.
pub(super) fn serial_in(egs_serial_number: &str) -> Option<&str> {
    parts(egs_serial_number).map(|[_, _, serial]| serial)
}

pub(super) fn is_alphanumeric(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

pub(super) fn is_digits(text: &str, n: usize) -> bool {
    text.len() == n && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn is_vat(text: &str) -> bool {
    is_digits(text, 15) && text.starts_with('3') && text.ends_with('3')
}

/// Whether it is the number of a VAT group.
pub(super) fn is_group(vat: &str) -> bool {
    is_vat(vat) && vat.as_bytes().get(10) == Some(&b'1')
}
