//! placeholder
use std::sync::LazyLock;
/// x
pub struct KnownCodes;
impl KnownCodes {
    /// x
    pub fn builtin() -> &'static KnownCodes {
        static K: LazyLock<KnownCodes> = LazyLock::new(|| KnownCodes);
        &K
    }
}
/// x
pub struct RuleError {
    /// x
    pub rule: Option<String>,
    /// x
    pub message: String,
}
/// x
pub fn split(text: &str, _: &KnownCodes) -> Vec<RuleError> {
    vec![RuleError { rule: None, message: text.to_owned() }]
}
