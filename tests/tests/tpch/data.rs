//! Rows in the shapes and proportions of TPC-H at scale 0.01, made from a seed: the same in every
//! run.
use std::fmt::Write;

const PARTS: i64 = 2000;
const SUPPLIERS: i64 = 100;
const CUSTOMERS: i64 = 1500;
const ORDERS: i64 = 15_000;

/// Days since 1970 of 1992-01-01 and 1998-08-02, between which orders come, and of 1995-06-17, up
/// to which they are delivered.
const FIRST: i64 = 8035;
const LAST: i64 = 10_440;
const TODAY: i64 = 9298;

const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];

#[rustfmt::skip]
const NATIONS: [(&str, usize); 25] = [
    ("ALGERIA", 0), ("ARGENTINA", 1), ("BRAZIL", 1), ("CANADA", 1), ("EGYPT", 4), ("ETHIOPIA", 0),
        ("FRANCE", 3), ("GERMANY", 3),
    ("INDIA", 2), ("INDONESIA", 2), ("IRAN", 4), ("IRAQ", 4), ("JAPAN", 2), ("JORDAN", 4),
        ("KENYA", 0), ("MOROCCO", 0),
    ("MOZAMBIQUE", 0), ("PERU", 1), ("CHINA", 2), ("ROMANIA", 3), ("SAUDI \
        ARABIA", 4), ("VIETNAM", 2), ("RUSSIA", 3),
    ("UNITED KINGDOM", 3), ("UNITED STATES", 1),
];

const COLOURS: [&str; 12] = [
    "almond",
    "blue",
    "chocolate",
    "coral",
    "forest",
    "green",
    "ivory",
    "lemon",
    "navy",
    "olive",
    "plum",
    "red",
];
const KINDS: [&str; 6] = ["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"];
const FINISHES: [&str; 5] = ["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"];
const METALS: [&str; 5] = ["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"];
const SIZES: [&str; 5] = ["SM", "LG", "MED", "JUMBO", "WRAP"];
const BOXES: [&str; 8] = ["CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"];
const SEGMENTS: [&str; 5] = ["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"];
const PRIORITIES: [&str; 5] = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
const INSTRUCTIONS: [&str; 4] = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];
const MODES: [&str; 7] = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
const WORDS: [&str; 14] = [
    "special",
    "requests",
    "furiously",
    "deposits",
    "sleep",
    "quickly",
    "Customer",
    "Complaints",
    "pending",
    "ideas",
    "bold",
    "accounts",
    "even",
    "packages",
];

/// splitmix64
struct Mix(u64);

impl Mix {
    fn below(&mut self, n: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.cast_unsigned()).cast_signed()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as i64) as usize]
    }

    fn words(&mut self, count: i64) -> String {
        let words: Vec<&str> = (0..count).map(|_| self.pick(&WORDS)).collect();
        words.join(" ")
    }

    fn phone(&mut self, nation: i64) -> String {
        format!(
            "{}-{:03}-{:03}-{:04}",
            nation + 10,
            self.below(1000),
            self.below(1000),
            self.below(10_000)
        )
    }

    fn balance(&mut self) -> String {
        money(self.below(1_099_999) - 99_999)
    }
}

/// Cents as a decimal number.
fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

/// Days since 1970 as a date.
fn date(days: i64) -> String {
    // From the 1st of March of the year 0, so that a leap day is a year's last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A part's price in cents.
fn price(part: i64) -> i64 {
    90_000 + (part / 10) % 20_001 + 100 * (part % 1000)
}

/// The n-th of a part's four suppliers.
fn supplier(part: i64, n: i64) -> i64 {
    (part + n * (SUPPLIERS / 4 + (part - 1) / SUPPLIERS)) % SUPPLIERS + 1
}

fn inserts(table: &str, rows: &[String], out: &mut Vec<String>) {
    for rows in rows.chunks(1000) {
        out.push(format!("insert into {table} values {}", rows.join(",")));
    }
}

/// The statements that fill all tables.
pub(crate) fn rows() -> Vec<String> {
    let mut mix = Mix(20_261_127);
    let mut out = Vec::new();
    let regions = REGIONS
        .iter()
        .enumerate()
        .map(|(n, name)| format!("({n},'{name}','')"));
    inserts("region", &regions.collect::<Vec<_>>(), &mut out);
    let nations = NATIONS
        .iter()
        .enumerate()
        .map(|(n, (name, region))| format!("({n},'{name}',{region},'')"));
    inserts("nation", &nations.collect::<Vec<_>>(), &mut out);
    let parts: Vec<String> = (1..=PARTS).map(|key| part(key, &mut mix)).collect();
    inserts("part", &parts, &mut out);
    let suppliers = (1..=SUPPLIERS).map(|key| {
        let nation = mix.below(25);
        let (phone, balance, words) = (mix.phone(nation), mix.balance(), mix.words(4));
        format!(
            "({key},'Supplier#{key:09}','street {}',{nation},'{phone}',{balance},'{words}')",
            mix.below(900)
        )
    });
    let suppliers: Vec<String> = suppliers.collect();
    inserts("supplier", &suppliers, &mut out);
    let mut stock = Vec::new();
    for part in 1..=PARTS {
        for n in 0..4 {
            let (quantity, cost) = (1 + mix.below(9999), money(100 + mix.below(99_901)));
            stock.push(format!(
                "({part},{},{quantity},{cost},'{}')",
                supplier(part, n),
                mix.words(3)
            ));
        }
    }
    inserts("partsupp", &stock, &mut out);
    let customers = (1..=CUSTOMERS).map(|key| {
        let nation = mix.below(25);
        let (phone, balance, segment) = (mix.phone(nation), mix.balance(), mix.pick(&SEGMENTS));
        let (house, words) = (mix.below(900), mix.words(5));
        format!(
            "({key},'Customer#{key:09}','road \
                {house}',{nation},'{phone}',{balance},'{segment}','{words}')"
        )
    });
    let customers: Vec<String> = customers.collect();
    inserts("customer", &customers, &mut out);
    let (mut orders, mut lines) = (Vec::new(), Vec::new());
    for key in 1..=ORDERS {
        orders.push(order(key, &mut mix, &mut lines));
    }
    inserts("orders", &orders, &mut out);
    inserts("lineitem", &lines, &mut out);
    out
}

fn part(key: i64, mix: &mut Mix) -> String {
    let names: Vec<&str> = (0..3).map(|_| mix.pick(&COLOURS)).collect();
    let (maker, brand) = (1 + mix.below(5), 1 + mix.below(5));
    let kind = format!("{} {} {}", mix.pick(&KINDS), mix.pick(&FINISHES), mix.pick(&METALS));
    let container = format!("{} {}", mix.pick(&SIZES), mix.pick(&BOXES));
    format!(
        "({key},'{}','Manufacturer#{maker}','Brand#{maker}{brand}','{kind}',{},'{container}',{},'{}')",
        names.join(" "),
        1 + mix.below(50),
        money(price(key)),
        mix.words(2)
    )
}

/// An order, whose lines are added to the others.
fn order(key: i64, mix: &mut Mix, lines: &mut Vec<String>) -> String {
    // A third of the customers have none.
    let customer = match 1 + mix.below(CUSTOMERS) {
        key if key % 3 == 0 => key % CUSTOMERS + 1,
        key => key,
    };
    let ordered = FIRST + mix.below(LAST - FIRST - 151);
    let (count, mut open, mut total) = (1 + mix.below(7), 0, 0);
    for number in 1..=count {
        let (part, quantity) = (1 + mix.below(PARTS), 1 + mix.below(50));
        let (discount, tax) = (mix.below(11), mix.below(9));
        let shipped = ordered + 1 + mix.below(121);
        let (due, received) = (ordered + 30 + mix.below(61), shipped + 1 + mix.below(30));
        let cost = quantity * price(part);
        total += cost * (100 - discount) * (100 + tax) / 10_000;
        open += i64::from(shipped > TODAY);
        let flag = match received <= TODAY {
            true => mix.pick(&["R", "A"]),
            false => "N",
        };
        let mut line = format!(
            "({key},{part},{},{number},{quantity},{}",
            supplier(part, mix.below(4)),
            money(cost)
        );
        let _ = write!(line, ",{},{}", money(discount), money(tax));
        let state = if shipped > TODAY { "O" } else { "F" };
        let _ = write!(
            line,
            ",'{flag}','{state}','{}','{}','{}'",
            date(shipped),
            date(due),
            date(received)
        );
        let _ = write!(
            line,
            ",'{}','{}','{}')",
            mix.pick(&INSTRUCTIONS),
            mix.pick(&MODES),
            mix.words(3)
        );
        lines.push(line);
    }
    let state = match open {
        0 => "F",
        n if n == count => "O",
        _ => "P",
    };
    format!(
        "({key},{customer},'{state}',{},'{}','{}','Clerk#{:09}',0,'{}')",
        money(total),
        date(ordered),
        mix.pick(&PRIORITIES),
        mix.below(10),
        mix.words(5)
    )
}
