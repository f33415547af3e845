//! What a test asks about the final states.

use super::initial::{Place, place, value};
use super::source::{Refusal, Source};
use super::test::Test;
use super::token::{Token, Tokens};
use super::value::{CodeAddress, Location, Target, Value};

/// How the states are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantifier {
    /// `exists`, `~exists`: is a state reachable that satisfies the proposition?
    Exists,
    /// `forall`, and a test without a condition: do all states satisfy it?
    #[default]
    Forall,
}

/// A proposition about a final state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prop {
    /// `true`.
    True,
    /// `~a`.
    Not(Box<Prop>),
    /// `a /\ b`.
    And(Box<Prop>, Box<Prop>),
    /// `a \/ b`.
    Or(Box<Prop>, Box<Prop>),
    /// `0:X1=2`, `x=1`.
    Equal(Place, Value),
    /// `fault(P0:L0,UndefinedInstruction)`; the kind may be left out.
    Fault(CodeAddress, Option<String>),
}

/// The whole condition.
#[derive(Clone, Debug)]
pub struct Condition {
    /// How it is asked.
    pub quantifier: Quantifier,
    /// Of what.
    pub prop: Prop,
    /// What a state shows: everything in the proposition and in `locations`.
    pub shown: Vec<Place>,
    /// As it was written, on one line; empty if the test has none.
    pub text: String,
    /// Line and column.
    pub place: (usize, usize),
}

impl Default for Condition {
    fn default() -> Self {
        Self { quantifier: Quantifier::Forall, prop: Prop::True, shown: Vec::new(), text: String::new(), place: (1, 1) }
    }
}

/// A final state, as far as a proposition can ask.
pub trait State {
    /// What is in a register or variable.
    fn value(&self, place: Place) -> Value;
    /// Whether such a fault was taken.
    fn fault(&self, at: CodeAddress, kind: Option<&str>) -> bool;
}

impl Prop {
    /// Whether a state satisfies it. An address is a symbol, and equal to nothing else.
    ///
    /// # Errors
    /// It compares a number with an instruction's word.
    pub fn holds(&self, state: &impl State) -> Result<bool, String> {
        Ok(match self {
            Self::True => true,
            Self::Not(a) => !a.holds(state)?,
            Self::And(a, b) => a.holds(state)? && b.holds(state)?,
            Self::Or(a, b) => a.holds(state)? || b.holds(state)?,
            Self::Equal(place, value) => match (state.value(*place), *value) {
                (Value::Address(a), Value::Address(b)) => a == b,
                (Value::Address(_), _) | (_, Value::Address(_)) => false,
                (found, value) => found.same(value)?,
            },
            Self::Fault(at, kind) => state.fault(*at, kind.as_deref()),
        })
    }
}

/// Reads it; everything up to the end of the file belongs to it.
///
/// # Errors
/// A construct outside of the surface, an unknown register or label.
pub fn read(source: &Source, start: usize, test: &mut Test) -> Result<Condition, Refusal> {
    let mut tokens = source.tokens(start..source.text().len())?;
    let mut condition = Condition::default();
    while let Some(Token::Word(word)) = tokens.peek().cloned() {
        match word.as_str() {
            "locations" => {
                tokens.take();
                locations(&mut tokens, test, &mut condition.shown)?;
            }
            "filter" => return Err(tokens.refuse("a filter is outside of the surface")),
            _ => break,
        }
    }
    if tokens.peek().is_none() {
        return Ok(condition);
    }
    condition.place = source.place(tokens.at());
    condition.text = source.text()[tokens.at()..].split_whitespace().collect::<Vec<_>>().join(" ");
    tokens.accept('~');
    let word = tokens.word("exists, ~exists or forall")?;
    condition.quantifier = match word.as_str() {
        "exists" => Quantifier::Exists,
        "forall" => Quantifier::Forall,
        _ => return Err(tokens.refuse(format!("\"{word}\" stands where exists, ~exists or forall should"))),
    };
    condition.prop = either(&mut tokens, test, &mut condition.shown)?;
    tokens.done()?;
    Ok(condition)
}

fn locations(tokens: &mut Tokens<'_>, test: &mut Test, shown: &mut Vec<Place>) -> Result<(), Refusal> {
    tokens.expect('[')?;
    while !tokens.accept(']') {
        let place = place(tokens, test)?;
        show(shown, place);
        tokens.accept(';');
    }
    Ok(())
}

fn show(shown: &mut Vec<Place>, place: Place) {
    if !shown.contains(&place) {
        shown.push(place);
    }
}

fn either(tokens: &mut Tokens<'_>, test: &mut Test, shown: &mut Vec<Place>) -> Result<Prop, Refusal> {
    let mut left = both(tokens, test, shown)?;
    while tokens.accept('|') {
        left = Prop::Or(Box::new(left), Box::new(both(tokens, test, shown)?));
    }
    Ok(left)
}

fn both(tokens: &mut Tokens<'_>, test: &mut Test, shown: &mut Vec<Place>) -> Result<Prop, Refusal> {
    let mut left = single(tokens, test, shown)?;
    while tokens.accept('&') {
        left = Prop::And(Box::new(left), Box::new(single(tokens, test, shown)?));
    }
    Ok(left)
}

fn single(tokens: &mut Tokens<'_>, test: &mut Test, shown: &mut Vec<Place>) -> Result<Prop, Refusal> {
    if tokens.accept('~') {
        return Ok(Prop::Not(Box::new(single(tokens, test, shown)?)));
    }
    if tokens.accept('(') {
        let inner = either(tokens, test, shown)?;
        tokens.expect(')')?;
        return Ok(inner);
    }
    match tokens.peek() {
        Some(Token::Word(word)) if word == "true" => {
            tokens.take();
            return Ok(Prop::True);
        }
        Some(Token::Word(word)) if word == "false" => {
            tokens.take();
            return Ok(Prop::Not(Box::new(Prop::True)));
        }
        Some(Token::Word(word)) if word == "fault" && tokens.ahead(1) == Some(&Token::Sign('(')) => {
            tokens.take();
            return fault(tokens, test);
        }
        _ => {}
    }
    let asked = place(tokens, test)?;
    tokens.expect('=')?;
    let at = tokens.at();
    let value = value(tokens, test)?;
    if let Value::Instr(instr) = value
        && matches!(instr.target(), Some(Target::Label(_)))
    {
        let what = "a label says no distance here; ask for the word as it stands in memory, as in instr:\"B .+8\"";
        return Err(tokens.source().refuse(at, what));
    }
    show(shown, asked);
    Ok(Prop::Equal(asked, value))
}

fn fault(tokens: &mut Tokens<'_>, test: &mut Test) -> Result<Prop, Refusal> {
    tokens.expect('(')?;
    let start = tokens.at();
    let Value::Address(Location::Code(at)) = value(tokens, test)? else {
        return Err(tokens.source().refuse(start, "a fault is asked for at a label, as in fault(P0:L0)"));
    };
    let mut kind = None;
    if tokens.accept(',') {
        let start = tokens.at();
        let name = tokens.word("a kind of fault")?;
        if !["UndefinedInstruction", "SupervisorCall"].contains(&name.as_str()) {
            return Err(tokens.source().refuse(start, format!("faults of the kind {name} are outside of the surface")));
        }
        kind = Some(name);
    }
    tokens.expect(')')?;
    Ok(Prop::Fault(at, kind))
}
