//! Whether rules have their ids as comments: not all releases take those, and none says so beforehand.

use super::settings::Settings;

/// What is known of comments. Once the switch has taken rules with them, they are never given up again.
#[derive(Debug, Default)]
pub(super) struct Comments {
    /// The switch has taken rules with comments.
    proven: bool,
    /// What it said when rules went in only without comments.
    refused: Option<String>,
}

impl Comments {
    /// Writes rules without comments from now on, if that may be what the switch refuses with these words; false if it is not.
    pub(super) fn drop_for(&mut self, reason: &str, settings: &mut Settings) -> bool {
        let may_be = settings.has_comments() && !self.proven && reason.to_lowercase().contains("comment");
        if may_be {
            settings.comments = Some(false);
            self.refused = Some(reason.to_owned());
        }
        may_be
    }

    /// They are not what the switch refuses: they are written again.
    pub(super) fn restore(&mut self, settings: &mut Settings) {
        settings.comments = Some(true);
        self.refused = None;
    }

    /// The switch has taken rules that were written so.
    pub(super) fn taken(&mut self, settings: &Settings) {
        self.proven |= settings.has_comments();
    }

    /// What it said when rules went in only without comments.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }
}
