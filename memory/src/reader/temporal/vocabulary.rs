//! The words that the time grammar knows; every other word is [`Word::Other`].
//!
//! Words are matched as byte slices because the compiler turns such a match into a decision tree over length and bytes,
//! which costs a few nanoseconds for a word that is not in it.

use super::calendar::{DayPart, Holiday, Season, Unit};

/// A word by what it does in a time expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// A word that says nothing about time.
    Other,
    /// Not a word at all: a number, a mark, or the end of the text.
    Absent,
    Month(i8),
    /// `Jan`, `Sept`.
    MonthShort(i8),
    /// Days after Monday.
    Weekday(i8),
    /// `Fri`, `Sat`.
    WeekdayShort(i8),
    /// `Fridays`: a habit, never one day.
    Weekdays,
    Season(Season),
    Unit(Unit),
    Units(Unit),
    Part(DayPart),
    /// `mornings`: a habit.
    Parts,
    Count(u32),
    Nth(u32),
    Couple,
    Few,
    Several,
    Half,
    A,
    The,
    This,
    Last,
    Next,
    Past,
    Previous,
    Coming,
    Following,
    Every,
    Another,
    In,
    On,
    At,
    Of,
    By,
    Or,
    Since,
    Until,
    From,
    To,
    Through,
    Between,
    And,
    Before,
    After,
    During,
    Within,
    For,
    Over,
    Around,
    Ago,
    Back,
    Later,
    Earlier,
    Early,
    Middle,
    Late,
    /// `end`, in `end of May`.
    End,
    /// `start`, `beginning`.
    Start,
    Now,
    Today,
    Tonight,
    Yesterday,
    Tomorrow,
    Noon,
    Midnight,
    Am,
    Pm,
    Clock,
    /// The letters of `o'clock`, `a.m.`, `p.m.` and `Q1`.
    LetterO,
    LetterP,
    LetterM,
    LetterQ,
    Possessive,
    Holiday(Holiday),
    New,
    Eve,
    Valentine,
    Independence,
    Labor,
    Memorial,
    Mother,
    Father,
    Boxing,
    Patrick,
    Fool,
    Good,
    Black,
    Cyber,
    /// A noun that a number counts, so that the number is no year: `people`, `miles`.
    Counted,
    /// A noun after a holiday, so that it is no time: `tree`, `dinner`.
    Festive,
    /// `time`, `once`: before `in two years` they make it a duration.
    Time,
    /// `will`, `plan`: what is near lies ahead.
    Ahead,
    /// `should`: ahead, unless `have` follows.
    Should,
    Have,
    Going,
    /// `am`, `is`, `are`: ahead with a verb in -ing.
    Be,
    /// `was`, `went`: what is near lies behind.
    Behind,
    /// `always`, `usually`.
    Habit,
}

/// The longest word that the vocabulary holds.
const WORD_BYTES_MAX: usize = 12;

/// Returns what a word is, whatever its case.
pub(super) fn word(letters: &[u8]) -> Word {
    let mut buffer = [0_u8; WORD_BYTES_MAX];
    let Some(lower) = buffer.get_mut(..letters.len()) else { return Word::Other };
    for (to, from) in lower.iter_mut().zip(letters) {
        *to = from.to_ascii_lowercase();
    }
    match calendar_word(lower) {
        Word::Other => match grammar_word(lower) {
            Word::Other => tense_word(lower),
            found => found,
        },
        found => found,
    }
}

/// Returns what stands after an apostrophe: `s`, `ll`, `clock`.
pub(super) fn ending(letters: &[u8]) -> Word {
    match letters {
        b"s" | b"S" => Word::Possessive,
        b"ll" => Word::Ahead,
        b"m" | b"re" => Word::Be,
        b"clock" => Word::Clock,
        _ => Word::Other,
    }
}

#[rustfmt::skip]
fn calendar_word(lower: &[u8]) -> Word {
    match lower {
        b"january" => Word::Month(1), b"february" => Word::Month(2), b"march" => Word::Month(3),
        b"april" => Word::Month(4), b"may" => Word::Month(5), b"june" => Word::Month(6),
        b"july" => Word::Month(7), b"august" => Word::Month(8), b"september" => Word::Month(9),
        b"october" => Word::Month(10), b"november" => Word::Month(11), b"december" => Word::Month(12),
        b"jan" => Word::MonthShort(1), b"feb" => Word::MonthShort(2), b"mar" => Word::MonthShort(3),
        b"apr" => Word::MonthShort(4), b"jun" => Word::MonthShort(6), b"jul" => Word::MonthShort(7),
        b"aug" => Word::MonthShort(8), b"sep" | b"sept" => Word::MonthShort(9), b"oct" => Word::MonthShort(10),
        b"nov" => Word::MonthShort(11), b"dec" => Word::MonthShort(12),
        b"monday" => Word::Weekday(0), b"tuesday" => Word::Weekday(1), b"wednesday" => Word::Weekday(2),
        b"thursday" => Word::Weekday(3), b"friday" => Word::Weekday(4), b"saturday" => Word::Weekday(5),
        b"sunday" => Word::Weekday(6),
        b"mon" => Word::WeekdayShort(0), b"tue" | b"tues" => Word::WeekdayShort(1), b"wed" => Word::WeekdayShort(2),
        b"thu" | b"thur" | b"thurs" => Word::WeekdayShort(3), b"fri" => Word::WeekdayShort(4),
        b"sat" => Word::WeekdayShort(5), b"sun" => Word::WeekdayShort(6),
        b"mondays" | b"tuesdays" | b"wednesdays" | b"thursdays" | b"fridays" | b"saturdays" | b"sundays" => Word::Weekdays,
        b"spring" => Word::Season(Season::Spring), b"summer" => Word::Season(Season::Summer),
        b"fall" | b"autumn" => Word::Season(Season::Autumn), b"winter" => Word::Season(Season::Winter),
        b"minute" => Word::Unit(Unit::Minute), b"minutes" | b"mins" => Word::Units(Unit::Minute),
        b"hour" => Word::Unit(Unit::Hour), b"hours" | b"hrs" => Word::Units(Unit::Hour),
        b"day" => Word::Unit(Unit::Day), b"days" => Word::Units(Unit::Day),
        b"night" => Word::Part(DayPart::Night), b"nights" | b"mornings" | b"afternoons" | b"evenings" => Word::Parts,
        b"week" => Word::Unit(Unit::Week), b"weeks" => Word::Units(Unit::Week),
        b"weekend" => Word::Unit(Unit::Weekend), b"weekends" => Word::Units(Unit::Weekend),
        b"month" => Word::Unit(Unit::Month), b"months" => Word::Units(Unit::Month),
        b"quarter" => Word::Unit(Unit::Quarter), b"quarters" => Word::Units(Unit::Quarter),
        b"year" => Word::Unit(Unit::Year), b"years" => Word::Units(Unit::Year),
        b"decade" => Word::Unit(Unit::Decade), b"decades" => Word::Units(Unit::Decade),
        b"century" => Word::Unit(Unit::Century),
        b"morning" => Word::Part(DayPart::Morning), b"afternoon" => Word::Part(DayPart::Afternoon),
        b"evening" => Word::Part(DayPart::Evening),
        b"christmas" => Word::Holiday(Holiday::Christmas), b"xmas" => Word::Holiday(Holiday::Christmas),
        b"easter" => Word::Holiday(Holiday::Easter), b"halloween" => Word::Holiday(Holiday::Halloween),
        b"thanksgiving" => Word::Holiday(Holiday::Thanksgiving), b"juneteenth" => Word::Holiday(Holiday::Juneteenth),
        b"one" => Word::Count(1), b"two" => Word::Count(2), b"three" => Word::Count(3), b"four" => Word::Count(4),
        b"five" => Word::Count(5), b"six" => Word::Count(6), b"seven" => Word::Count(7), b"eight" => Word::Count(8),
        b"nine" => Word::Count(9), b"ten" => Word::Count(10), b"eleven" => Word::Count(11), b"twelve" => Word::Count(12),
        b"thirteen" => Word::Count(13), b"fourteen" => Word::Count(14), b"fifteen" => Word::Count(15),
        b"sixteen" => Word::Count(16), b"seventeen" => Word::Count(17), b"eighteen" => Word::Count(18),
        b"nineteen" => Word::Count(19), b"twenty" => Word::Count(20), b"thirty" => Word::Count(30),
        b"forty" => Word::Count(40), b"fifty" => Word::Count(50), b"sixty" => Word::Count(60),
        b"ninety" => Word::Count(90),
        b"first" => Word::Nth(1), b"second" => Word::Nth(2), b"third" => Word::Nth(3), b"fourth" => Word::Nth(4),
        b"fifth" => Word::Nth(5), b"sixth" => Word::Nth(6), b"seventh" => Word::Nth(7), b"eighth" => Word::Nth(8),
        b"ninth" => Word::Nth(9), b"tenth" => Word::Nth(10), b"eleventh" => Word::Nth(11), b"twelfth" => Word::Nth(12),
        b"thirteenth" => Word::Nth(13), b"fourteenth" => Word::Nth(14), b"fifteenth" => Word::Nth(15),
        b"sixteenth" => Word::Nth(16), b"seventeenth" => Word::Nth(17), b"eighteenth" => Word::Nth(18),
        b"nineteenth" => Word::Nth(19), b"twentieth" => Word::Nth(20), b"thirtieth" => Word::Nth(30),
        _ => Word::Other,
    }
}

#[rustfmt::skip]
fn grammar_word(lower: &[u8]) -> Word {
    match lower {
        b"couple" => Word::Couple, b"few" => Word::Few, b"several" => Word::Several, b"half" => Word::Half,
        b"a" | b"an" => Word::A, b"the" => Word::The,
        b"this" | b"these" => Word::This, b"last" => Word::Last, b"next" => Word::Next, b"past" => Word::Past,
        b"previous" | b"prior" => Word::Previous, b"coming" | b"upcoming" => Word::Coming,
        b"following" => Word::Following, b"every" | b"each" => Word::Every, b"other" => Word::Another,
        b"in" => Word::In, b"on" => Word::On, b"at" => Word::At, b"of" => Word::Of, b"by" => Word::By,
        b"or" => Word::Or, b"since" => Word::Since, b"until" | b"till" => Word::Until, b"from" => Word::From,
        b"to" => Word::To, b"through" | b"thru" => Word::Through, b"between" => Word::Between, b"and" => Word::And,
        b"before" => Word::Before, b"after" => Word::After, b"during" | b"throughout" => Word::During,
        b"within" => Word::Within, b"for" => Word::For, b"over" => Word::Over,
        b"around" | b"about" | b"circa" => Word::Around, b"ago" => Word::Ago, b"back" => Word::Back,
        b"later" => Word::Later, b"earlier" => Word::Earlier, b"early" => Word::Early,
        b"mid" | b"middle" => Word::Middle, b"late" => Word::Late, b"end" => Word::End,
        b"start" | b"beginning" => Word::Start, b"now" => Word::Now, b"today" => Word::Today,
        b"tonight" => Word::Tonight, b"yesterday" => Word::Yesterday, b"tomorrow" => Word::Tomorrow,
        b"noon" => Word::Noon, b"midnight" => Word::Midnight, b"am" => Word::Am, b"pm" => Word::Pm,
        b"o" => Word::LetterO, b"p" => Word::LetterP, b"m" => Word::LetterM, b"q" => Word::LetterQ,
        b"new" => Word::New, b"eve" => Word::Eve, b"valentine" | b"valentines" => Word::Valentine,
        b"independence" => Word::Independence, b"labor" | b"labour" => Word::Labor, b"memorial" => Word::Memorial,
        b"mother" | b"mothers" => Word::Mother, b"father" | b"fathers" => Word::Father, b"boxing" => Word::Boxing,
        b"patrick" | b"patricks" => Word::Patrick, b"fool" | b"fools" => Word::Fool, b"good" => Word::Good,
        b"black" => Word::Black, b"cyber" => Word::Cyber,
        b"people" | b"percent" | b"dollars" | b"euros" | b"pounds" | b"words" | b"steps" | b"meters" | b"metres"
        | b"miles" | b"km" | b"kilometers" | b"kilometres" | b"feet" | b"characters" | b"tokens" | b"bytes" | b"ms"
        | b"mb" | b"gb" | b"kg" | b"calories" | b"copies" | b"pieces" | b"users" | b"points" | b"items" | b"students"
        | b"employees" | b"men" | b"women" | b"children" | b"kids" | b"times" | b"pages" | b"units" | b"seconds"
        | b"sec" | b"guests" | b"members" | b"cups" | b"lines" => Word::Counted,
        b"tree" | b"trees" | b"present" | b"presents" | b"gift" | b"gifts" | b"card" | b"cards" | b"dinner" | b"carol"
        | b"carols" | b"cookie" | b"cookies" | b"egg" | b"eggs" | b"bunny" | b"costume" | b"costumes" | b"lights"
        | b"decorations" | b"music" | b"song" | b"songs" | b"movie" | b"movies" | b"market" | b"markets"
        | b"sweater" | b"shopping" | b"story" | b"island" | b"party" | b"parties" | b"resolution" | b"resolutions" => Word::Festive,
        b"time" | b"once" | b"twice" => Word::Time,
        _ => Word::Other,
    }
}

#[rustfmt::skip]
fn tense_word(lower: &[u8]) -> Word {
    match lower {
        b"will" | b"shall" | b"gonna" | b"plan" | b"plans" | b"planning" | b"hope" | b"hoping" | b"scheduled" | b"due"
        | b"deadline" | b"remind" | b"reminder" | b"must" | b"want" | b"wants" | b"wanna" | b"can" | b"let" | b"lets" | b"soon" | b"appointment"
        | b"forward" => Word::Ahead,
        b"should" => Word::Should,
        b"have" => Word::Have,
        b"going" => Word::Going,
        b"is" | b"are" => Word::Be,
        b"was" | b"were" | b"wasn" | b"weren" | b"had" | b"hadn" | b"did" | b"didn" | b"haven" | b"hasn" | b"been"
        | b"went" | b"got" | b"came" | b"saw" | b"took" | b"made" | b"met" | b"gave" | b"found" | b"told" | b"said"
        | b"left" | b"felt" | b"bought" | b"brought" | b"thought" | b"ran" | b"ate" | b"began" | b"became" | b"drove"
        | b"flew" | b"wrote" | b"spoke" | b"spent" | b"held" | b"heard" | b"kept" | b"lost" | b"paid" | b"sent"
        | b"sold" | b"stood" | b"taught" | b"won" | b"woke" | b"wore" | b"built" | b"broke" | b"chose" | b"caught"
        | b"fell" | b"knew" | b"grew" | b"threw" | b"slept" | b"swam" | b"sang" | b"rode" | b"never" => Word::Behind,
        b"always" | b"usually" | b"often" | b"typically" | b"normally" | b"generally" | b"sometimes" | b"daily"
        | b"weekly" | b"monthly" | b"yearly" | b"annually" | b"whenever" => Word::Habit,
        _ => Word::Other,
    }
}
