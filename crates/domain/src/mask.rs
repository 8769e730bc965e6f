//! .
/// .
#[must_use]
pub fn mask(text: &str) -> std::borrow::Cow<'_, str> { text.into() }
