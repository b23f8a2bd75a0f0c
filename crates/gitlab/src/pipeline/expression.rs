//! Evaluates conditions of GitLab's rules, as far as the variables of a pipeline are known
//! (<https://docs.gitlab.com/ci/jobs/job_rules/#cicd-variable-expressions>).

/// The value of a variable or a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// The variable is not set, or `null`.
    Unset,
    /// A text.
    Text(String),
    /// The name of a branch that no condition names.
    OtherBranch,
    /// The name of the default branch.
    DefaultBranch,
    /// A regular expression.
    Pattern,
    /// Any text.
    Unknown,
}

/// Evaluates `condition`. `None` if the result depends on something unknown, or if the syntax is.
pub fn evaluate(condition: &str, variable: &dyn Fn(&str) -> Operand) -> Option<bool> {
    let mut parser = Parser { rest: condition.trim(), variable };
    let result = parser.any();
    if parser.is_valid() { result } else { None }
}

/// A parser that evaluates while it reads. After an error its rest is not empty.
struct Parser<'c> {
    rest: &'c str,
    variable: &'c dyn Fn(&str) -> Operand,
}

impl<'c> Parser<'c> {
    fn is_valid(&self) -> bool {
        self.rest.is_empty()
    }

    /// Removes `token` from the start. Returns true if it was there.
    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.map_or(self.rest, str::trim_start);
        rest.is_some()
    }

    fn any(&mut self) -> Option<bool> {
        let mut result = self.all();
        while self.take("||") {
            let next = self.all();
            result = match (result, next) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
        }
        result
    }

    fn all(&mut self) -> Option<bool> {
        let mut result = self.comparison();
        while self.take("&&") {
            let next = self.comparison();
            result = match (result, next) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
        }
        result
    }

    fn comparison(&mut self) -> Option<bool> {
        if self.take("(") {
            let result = self.any();
            // Without it the rest is not empty, so the condition is not valid.
            return if self.take(")") { result } else { None };
        }
        let left = self.operand()?;
        for (operator, compare) in OPERATORS {
            if self.take(operator) {
                let right = self.operand()?;
                return compare(&left, &right);
            }
        }
        match left {
            Operand::Unset => Some(false),
            Operand::Text(text) => Some(!text.is_empty()),
            Operand::OtherBranch | Operand::DefaultBranch => Some(true),
            Operand::Pattern | Operand::Unknown => None,
        }
    }

    fn operand(&mut self) -> Option<Operand> {
        if self.take("null") {
            return Some(Operand::Unset);
        }
        let first = self.rest.chars().next()?;
        let body = &self.rest[first.len_utf8()..];
        let (operand, rest) = match first {
            '$' => {
                let end = body.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let (name, rest) = body.split_at(end.unwrap_or(body.len()));
                ((self.variable)(name), rest)
            }
            '"' | '\'' => {
                let (text, rest) = body.split_once(first)?;
                (Operand::Text(text.to_owned()), rest)
            }
            '/' => {
                let escaped = |at: usize| body[..at].ends_with('\\');
                let end = body.match_indices('/').map(|(at, _)| at).find(|at| !escaped(*at))?;
                let flags = body[end + 1..].trim_start_matches(|c: char| c.is_ascii_alphabetic());
                (Operand::Pattern, flags)
            }
            _ => return None,
        };
        self.rest = rest.trim_start();
        Some(operand)
    }
}

type Compare = fn(&Operand, &Operand) -> Option<bool>;

const OPERATORS: [(&str, Compare); 4] = [
    ("==", equal),
    ("!=", |left, right| equal(left, right).map(|is_equal| !is_equal)),
    ("=~", matches_pattern),
    ("!~", |left, right| matches_pattern(left, right).map(|is_match| !is_match)),
];

fn equal(left: &Operand, right: &Operand) -> Option<bool> {
    use Operand::{DefaultBranch, OtherBranch, Pattern, Text, Unknown, Unset};
    match (left, right) {
        (Text(left), Text(right)) => Some(left == right),
        (Unset, Unset) | (DefaultBranch, DefaultBranch) => Some(true),
        (Unknown | Pattern, _)
        | (_, Unknown | Pattern)
        | (OtherBranch, OtherBranch)
        | (DefaultBranch, Text(_))
        | (Text(_), DefaultBranch) => None,
        _ => Some(false),
    }
}

fn matches_pattern(left: &Operand, _: &Operand) -> Option<bool> {
    (*left == Operand::Unset).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_evaluated_as_far_as_they_are_known() {
        let variable = |name: &str| match name {
            "SOURCE" => Operand::Text("push".to_owned()),
            "BRANCH" => Operand::OtherBranch,
            "DEFAULT" => Operand::DefaultBranch,
            "TAG" => Operand::Unset,
            _ => Operand::Unknown,
        };
        for (condition, expected) in [
            ("$SOURCE == \"push\"", Some(true)),
            ("$SOURCE=='push'", Some(true)),
            ("$SOURCE != \"push\"", Some(false)),
            ("$BRANCH", Some(true)),
            ("$TAG", Some(false)),
            ("$TAG == null", Some(true)),
            ("$BRANCH == $DEFAULT", Some(false)),
            ("$BRANCH != $DEFAULT && $SOURCE == \"push\"", Some(true)),
            ("$BRANCH == \"main\" || $TAG", Some(false)),
            ("$BRANCH =~ /^release\\/.*/i", None),
            ("$TAG =~ /^v/", Some(false)),
            ("$TAG !~ /^v/", Some(true)),
            ("$OTHER == \"1\"", None),
            ("$OTHER && $TAG", Some(false)),
            ("$OTHER || $BRANCH", Some(true)),
            ("($TAG || $BRANCH) && $SOURCE == \"push\"", Some(true)),
            ("$TAG || ($BRANCH && $OTHER == \"x\")", None),
            ("$SOURCE == \"push", None),
            ("($BRANCH", None),
            ("$BRANCH $TAG", None),
            ("", None),
        ] {
            assert_eq!(evaluate(condition, &variable), expected, "{condition}");
        }
    }
}
