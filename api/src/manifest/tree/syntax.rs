//! The parser's errors in words that say what to do.

use granit_parser::{ErrorKind, ScanError};

use super::MAX_DEPTH;

/// What is wrong and what to write instead.
pub(super) fn words(error: &ScanError) -> String {
    let message = match error.kind() {
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabAtBlockScalarStart
        | ErrorKind::TabInPlainScalar => "a tab where YAML takes only spaces: indent with spaces",
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::DocumentIndicatorInQuotedScalar => {
            "text in quotes does not end where it should: close the quote, here or on a line above"
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            "a colon that cannot start a value here: put text that contains \": \" in quotes, \
             or check the indentation"
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            "a line that is no `key: value`: add the colon and a blank after the key, \
             or check the indentation"
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedDocumentStart
        | ErrorKind::MappingKeyNotAllowed => {
            "the indentation does not fit: keys of one mapping stand in one column"
        }
        ErrorKind::ExpectedBlockSequenceEntry | ErrorKind::BlockSequenceEntryNotAllowed => {
            "a list item does not fit: the dashes of one list stand in one column, \
             below the key they belong to"
        }
        ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::MisplacedFlowCollectionEnd
        | ErrorKind::MismatchedFlowCollectionEnd { .. }
        | ErrorKind::UnclosedFlowCollection { .. } => {
            "brackets do not match, or a comma is missing: check `[ ]` and `{ }`"
        }
        ErrorKind::RecursionLimitExceeded => {
            return format!("nested deeper than {MAX_DEPTH} levels: no manifest needs that");
        }
        ErrorKind::UnexpectedCharacter { character } => {
            return format!("{character:?} cannot start a value: put the text in quotes");
        }
        _ => return format!("not valid YAML: {}", error.info()),
    };
    message.to_owned()
}
