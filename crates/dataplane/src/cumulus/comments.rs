//! Whether rules carry their ids as comments: not all releases accept comments, and none says so
//! beforehand.

use super::settings::Settings;

/// What is known about comments. Once the switch has accepted rules with comments, they stay on.
#[derive(Debug, Default)]
pub(super) struct Comments {
    /// The switch has accepted rules with comments.
    proven: bool,
    /// The message with which it refused comments.
    refused: Option<String>,
}

impl Comments {
    /// Writes rules without comments from now on, if comments may be the cause of this refusal;
    /// false if they are not.
    pub(super) fn drop_for(&mut self, reason: &str, settings: &mut Settings) -> bool {
        let may_be = settings.has_comments() && !self.proven && reason.to_lowercase().contains("comment");
        if may_be {
            settings.comments = Some(false);
            self.refused = Some(reason.to_owned());
        }
        may_be
    }

    /// Comments are not the cause: they are written again.
    pub(super) fn restore(&mut self, settings: &mut Settings) {
        settings.comments = Some(true);
        self.refused = None;
    }

    /// The switch has accepted rules written in the current way.
    pub(super) fn taken(&mut self, settings: &Settings) {
        self.proven |= settings.has_comments();
    }

    /// The message with which it refused comments.
    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }
}
