//! Finds what TOML 1.1 has and TOML 1.0 has not: the `toml` crate takes it, Nix's `fromTOML` does not, and a file must
//! get the same verdict from both.

use toml_parser::{
    Source,
    lexer::{Token, TokenKind},
};

use super::problem::Problem;

/// The first use of TOML 1.1 in a file that is otherwise right, or a null character, which Nix's strings cannot hold.
pub fn newer_syntax(source: &str) -> Option<Problem> {
    let tokens: Vec<Token> = Source::new(source).lex().collect();
    let mut brackets = Vec::new();
    // The last token that is neither space, comment nor newline.
    let mut last = TokenKind::Eof;
    for token in &tokens {
        let span = token.span().start()..token.span().end();
        let problem = |what: &str, mend: &str| {
            Some(Problem {
                key: String::new(),
                span: span.clone(),
                what: what.into(),
                mend: mend.into(),
            })
        };
        let in_table = brackets.last() == Some(&TokenKind::LeftCurlyBracket);
        match token.kind() {
            kind @ (TokenKind::LeftCurlyBracket | TokenKind::LeftSquareBracket) => {
                brackets.push(kind);
            }
            TokenKind::RightCurlyBracket if last == TokenKind::Comma => {
                return problem(
                    "an inline table ends in a comma, which is TOML 1.1",
                    "Remove the comma, as Nix reads TOML 1.0.",
                );
            }
            TokenKind::RightCurlyBracket | TokenKind::RightSquareBracket => {
                brackets.pop();
            }
            TokenKind::Newline if in_table => {
                return problem(
                    "an inline table goes over several lines, which is TOML 1.1",
                    "Write it on one line or as a [table], as Nix reads TOML 1.0.",
                );
            }
            TokenKind::BasicString | TokenKind::MlBasicString => {
                match foreign_escape(&source[span.clone()]) {
                    Some('u' | 'U') => {
                        return problem(
                            "a string holds a null character",
                            "Remove it: Nix has no such strings.",
                        );
                    }
                    Some(_) => {
                        return problem(
                            "a string has an escape of TOML 1.1",
                            "Write the character itself or as \\u0000, as Nix reads TOML 1.0.",
                        );
                    }
                    None => {}
                }
            }
            _ => {}
        }
        if !matches!(
            token.kind(),
            TokenKind::Whitespace | TokenKind::Comment | TokenKind::Newline
        ) {
            last = token.kind();
        }
    }
    None
}

/// The letter of an escape that Nix refuses: `\e`, `\x41`, `\u0000`.
fn foreign_escape(string: &str) -> Option<char> {
    let mut rest = string;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at + 1..];
        match escape.chars().next()? {
            letter @ ('e' | 'x') => return Some(letter),
            letter @ 'u' if escape[1..].starts_with("0000") => return Some(letter),
            letter @ 'U' if escape[1..].starts_with("00000000") => return Some(letter),
            letter => rest = &escape[letter.len_utf8()..],
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toml_1_0_is_let_through() {
        for source in [
            "a = [\n 1, # one\n 2,\n]\n",
            "a = { b = [\n1,\n], c = 1 }\n[d]\n",
            "a = \"\\\\e \\\\x41 \\u0041\"\nb = '\\e'\n",
            "a = { b = \"\"\"\n\"\"\" }\n",
        ] {
            assert!(newer_syntax(source).is_none(), "{source}");
        }
    }

    #[test]
    fn toml_1_1_is_found_where_it_is() {
        for (source, at) in [
            ("a = {\n}\n", 5),
            ("a = { b = 1, }\n", 13),
            ("a = [{ b = 1 # one\n}]\n", 18),
            ("a = \"\\e\"\n", 4),
            ("\"\\x41\" = 1\n", 0),
            ("a = \"\"\"\\u0000\"\"\"\n", 4),
        ] {
            let found = newer_syntax(source).map(|problem| problem.span.start);
            assert_eq!(found, Some(at), "{source}");
        }
    }
}
