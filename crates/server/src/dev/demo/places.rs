//! Owns the names of the demo's world: first and last names that belong together,
//! cities, shops, employers. All of it is invented; addresses and numbers lie in
//! ranges that are kept for examples.

/// Names of one part of the world.
pub(super) struct Culture {
    /// Given names.
    pub(super) first: &'static [&'static str],
    /// Family names.
    pub(super) last: &'static [&'static str],
}

/// Where the demo's people come from.
pub(super) const CULTURES: [Culture; 8] = [
    Culture {
        first: &["Katrin", "Matthias", "Sabine", "Jürgen", "Lena", "Florian", "Ulrike", "Niklas"],
        last: &[
            "Baumgärtner",
            "Schreiber",
            "Vogelsang",
            "Kessler",
            "Lindemann",
            "Osterkamp",
            "Hoffmeister",
            "Reuter",
        ],
    },
    Culture {
        first: &[
            "Élodie", "Mathieu", "Camille", "Baptiste", "Amandine", "Rémi", "Solène", "Gaspard",
        ],
        last: &[
            "Marchand",
            "Lefèvre",
            "Beaumont",
            "Delacroix",
            "Fournier",
            "Garnier",
            "Rousseau",
            "Chevalier",
        ],
    },
    Culture {
        first: &[
            "Giulia",
            "Lorenzo",
            "Francesca",
            "Davide",
            "Beatrice",
            "Stefano",
            "Ludovica",
            "Matteo",
        ],
        last: &[
            "Bianchi",
            "Ferrante",
            "Colombo",
            "De Santis",
            "Marchetti",
            "Rinaldi",
            "Pellegrini",
            "Caruso",
        ],
    },
    Culture {
        first: &[
            "Agnieszka",
            "Tomasz",
            "Zofia",
            "Paweł",
            "Magdalena",
            "Krzysztof",
            "Hanna",
            "Wojciech",
        ],
        last: &[
            "Wiśniewska",
            "Kowalczyk",
            "Zieliński",
            "Mazur",
            "Krawczyk",
            "Szymańska",
            "Dudek",
            "Pawlak",
        ],
    },
    Culture {
        first: &["Ngozi", "Kwame", "Amara", "Chinedu", "Abena", "Tunde", "Folake", "Kofi"],
        last: &["Adeyemi", "Mensah", "Eze", "Boateng", "Okafor", "Owusu", "Nwosu", "Asante"],
    },
    Culture {
        first: &["Priyanka", "Arjun", "Meera", "Rohan", "Anjali", "Vikram", "Kavya", "Sanjay"],
        last: &[
            "Raghavan",
            "Deshmukh",
            "Iyer",
            "Banerjee",
            "Kulkarni",
            "Chatterjee",
            "Menon",
            "Sethi",
        ],
    },
    Culture {
        first: &["Leyla", "Emre", "Zeynep", "Kaan", "Shirin", "Reza", "Yasmin", "Karim"],
        last: &["Yıldız", "Demir", "Aksoy", "Karimi", "Haddad", "Najjar", "Şahin", "Rahmani"],
    },
    Culture {
        first: &["Linh", "Minh", "Yuki", "Haruto", "Mei", "Jun", "Sakura", "Wei"],
        last: &["Nguyen", "Tran", "Watanabe", "Mori", "Chen", "Huang", "Sato", "Lin"],
    },
];

/// A city with the shops its people go to.
pub(super) struct City {
    /// As it stands on statements.
    pub(super) name: &'static str,
    /// The start of a telephone number that is kept for films and examples; three
    /// digits follow.
    pub(super) phone: &'static str,
    pub(super) grocers: &'static [&'static str],
    pub(super) bakeries: &'static [&'static str],
    pub(super) lunches: &'static [&'static str],
    pub(super) evenings: &'static [&'static str],
    pub(super) shops: &'static [&'static str],
    pub(super) sundays: &'static [&'static str],
    pub(super) transit: &'static str,
    pub(super) power: &'static str,
    pub(super) landlord: &'static str,
}

/// Where the demo's people live.
pub(super) const CITIES: [City; 4] = [
    City {
        name: "Köln",
        phone: "+492214710",
        grocers: &["Frischmarkt Severin", "Biohof Rheinau"],
        bakeries: &["Bäckerei Lindner", "Backstube Ehrenfeld"],
        lunches: &["Kantine Mediapark", "Suppenbar Löffel", "Pho Hanoi Garten"],
        evenings: &[
            "Brauhaus Zum Kranen",
            "Trattoria Da Nino",
            "Lichtspiele Süd",
            "Weinbar Rebstock",
        ],
        shops: &[
            "Buchhandlung Kapitel 3",
            "Schuhhaus Wanderer",
            "Drogerie Klarwasser",
            "Möbelwerk Nord",
        ],
        sundays: &["Museum am Strom", "Café Sonntagskind", "Kletterhalle Steilwand"],
        transit: "Rheinbahn Mobil",
        power: "Stadtwerke Rheinland",
        landlord: "Wohnbau Rheinufer eG",
    },
    City {
        name: "Hamburg",
        phone: "+494066969",
        grocers: &["Markthalle Altona", "Nordkorb Supermarkt"],
        bakeries: &["Franzbäck Eimsbüttel", "Bäckerei Hansen & Söhne"],
        lunches: &["Fischbude Kai 7", "Falafel Oase", "Kantine Speicherhof"],
        evenings: &["Kneipe Zum Anker", "Sushi Hafenlicht", "Theater am Fleet", "Ristorante Vela"],
        shops: &[
            "Plattenladen Nadel & Rille",
            "Elbmode",
            "Drogerie Klarwasser",
            "Radwerk Sternschanze",
        ],
        sundays: &["Café Fährhaus", "Planetarium Nord", "Schwimmhalle Alster"],
        transit: "Nordbahn Verbund",
        power: "Elbe Energie",
        landlord: "Hanse Wohnen GmbH",
    },
    City {
        name: "Berlin",
        phone: "+493023125",
        grocers: &["Kiezmarkt Kreuzberg", "Grünwert Bio"],
        bakeries: &["Bäckerei Morgenstern", "Sauerteig & Sohn"],
        lunches: &["Döner Palast Ost", "Bowl Werk", "Mensa Mitte"],
        evenings: &[
            "Bar Kollektiv",
            "Kino Babelsberg 2",
            "Restaurant Zwölf Stühle",
            "Konzerthaus Spree",
        ],
        shops: &[
            "Buchladen Umlaut",
            "Second Hand Galerie",
            "Elektro Ampere",
            "Drogerie Klarwasser",
        ],
        sundays: &["Flohmarkt am Kanal", "Café Tegernsee", "Zoo am Wald"],
        transit: "Spree Verkehr",
        power: "Havelstrom",
        landlord: "Hausverwaltung Brandt & Partner",
    },
    City {
        name: "Leipzig",
        phone: "+493023125",
        grocers: &["Marktkauf Plagwitz", "Konsum Südplatz"],
        bakeries: &["Bäckerei Kornblume", "Lerche & Strudel"],
        lunches: &["Mensa am Park", "Nudelhaus Karli", "Imbiss Goldener Löwe"],
        evenings: &["Gasthaus Alte Nikolai", "Schaubühne Ost", "Tapas Lindenau", "Jazzkeller 21"],
        shops: &[
            "Antiquariat Seitenwind",
            "Sportladen Gipfel",
            "Drogerie Klarwasser",
            "Holz & Spiel",
        ],
        sundays: &["Café Seerose", "Botanischer Garten", "Wildpark Auwald"],
        transit: "Sachsenlinie",
        power: "Pleiße Energie",
        landlord: "Wohnungsgenossenschaft Lipsia",
    },
];

/// Who pays salaries.
pub(super) const EMPLOYERS: [&str; 10] = [
    "Rheintal Maschinenbau AG",
    "Klinikum am Stadtwald",
    "Lumen Optik GmbH",
    "Schulamt Nordwest",
    "Kontor Logistik SE",
    "Pixelhafen Studios GmbH",
    "Feldmann & Cie. KG",
    "Institut für Wetterkunde",
    "Aurora Versicherungs-AG",
    "Hafenwerke GmbH",
];

/// What is paid every month without thinking: name, minor units, day of the month.
pub(super) const SUBSCRIPTIONS: [(&str, i64, i8); 8] = [
    ("Filmkiste Streaming", 1_299, 3),
    ("Tonspur Music Family", 1_699, 7),
    ("Wolkenspeicher 200 GB", 299, 9),
    ("FitWerk Studio membership", 2_990, 4),
    ("Tagblatt Digital", 1_890, 11),
    ("Lesezeit eBooks", 999, 18),
    ("Mobility Pass", 5_800, 1),
    ("Kochpost meal box", 4_780, 21),
];

/// Shops that are nowhere.
pub(super) const ONLINE: [&str; 5] = [
    "Versandhaus Papillon",
    "Buchwelt24",
    "Technikladen Volt",
    "Gartenzeit Online",
    "Modehaus Lumière",
];

/// Customers of small businesses.
pub(super) const CLIENTS: [&str; 8] = [
    "Hotel Seeblick",
    "Praxis Dr. Albers",
    "Architekturbüro Winkelmaß",
    "Gemeinde Waldbröl",
    "Restaurant Orangerie",
    "Kanzlei Thornton & Reyes",
    "Galerie Blaue Stunde",
    "Kita Regenbogen e.V.",
];

/// Letters of names as they stand in e-mail addresses.
pub(super) fn plain_letters(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for letter in name.to_lowercase().chars() {
        match letter {
            'ä' => plain.push_str("ae"),
            'ö' => plain.push_str("oe"),
            'ü' => plain.push_str("ue"),
            'ß' => plain.push_str("ss"),
            'é' | 'è' | 'ê' | 'ë' => plain.push('e'),
            'á' | 'à' | 'â' => plain.push('a'),
            'ó' | 'ô' => plain.push('o'),
            'í' | 'ı' | 'î' => plain.push('i'),
            'ł' => plain.push('l'),
            'ń' => plain.push('n'),
            'ś' | 'ş' => plain.push('s'),
            'ż' | 'ź' => plain.push('z'),
            'ç' | 'ć' => plain.push('c'),
            letter if letter.is_ascii_alphanumeric() => plain.push(letter),
            _ => {}
        }
    }
    plain
}
