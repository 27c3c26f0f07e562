//! Decides whether a target follows its label now. Pure: the registry, the journal and the hold are given.
//!
//! A target follows only a promotion with a higher counter than all that it has tried. So a rollback is not undone, a
//! version that failed its health check is not tried again and again, and a version that has the label again because a
//! later one was withdrawn is left to the user.

/// The answer of the registry for the label of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// The tag that assigned the label, as `digits#prod#7`.
    pub tag: String,
    /// The number at its end; 0 if it has none.
    pub counter: u64,
    /// The version, as `v1.2.0`; `None` for a label on a commit without a version.
    pub version: Option<String>,
}

/// What a target did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The highest counter that was deployed or tried; `None` if there was none.
    pub tried: Option<u64>,
    /// The highest counter that a rollback or the user holds off.
    pub held: Option<u64>,
    /// Whether the user stopped it, until `resume`.
    pub is_stopped: bool,
    /// The version that is current.
    pub current: Option<String>,
}

/// What the target does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No version has the label.
    NoVersion,
    /// The version of the label is current, or was tried.
    UpToDate,
    /// This promotion is new.
    Deploy(Promotion),
    /// The promotion is held off.
    Held(Promotion),
    /// A version has the label again because a later one lost it.
    FallenBack(Promotion),
}

/// Decides for the present answer of the registry.
pub fn decide(answer: Option<Promotion>, progress: &Progress) -> Decision {
    let Some(promotion) = answer.filter(|promotion| promotion.version.is_some()) else { return Decision::NoVersion };
    if progress.is_stopped || progress.held.is_some_and(|held| promotion.counter <= held) {
        return Decision::Held(promotion);
    }
    match progress.tried {
        Some(tried) if promotion.counter < tried && promotion.version != progress.current => {
            Decision::FallenBack(promotion)
        }
        Some(tried) if promotion.counter <= tried => Decision::UpToDate,
        _ => Decision::Deploy(promotion),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promotion(counter: u64, version: &str) -> Promotion {
        Promotion { tag: format!("digits#prod#{counter}"), counter, version: Some(version.into()) }
    }

    #[test]
    fn only_a_higher_counter_is_followed() {
        let progress = |tried: u64, current: &str| Progress {
            tried: (tried > 0).then_some(tried),
            current: (!current.is_empty()).then(|| current.to_string()),
            ..Progress::default()
        };
        let held = Progress { held: Some(7), ..progress(7, "v1.0.0") };
        let stopped = Progress { is_stopped: true, ..progress(7, "v1.0.0") };
        for (name, answer, progress, want) in [
            ("the first", Some(promotion(3, "v1")), progress(0, ""), "deploy"),
            ("no version", None, progress(3, "v1"), "none"),
            ("the same", Some(promotion(3, "v1")), progress(3, "v1"), "up to date"),
            ("a later one", Some(promotion(4, "v2")), progress(3, "v1"), "deploy"),
            ("it failed", Some(promotion(4, "v2")), progress(4, "v1"), "up to date"),
            ("a later one was withdrawn", Some(promotion(3, "v1")), progress(4, "v2"), "fallen back"),
            ("and was deployed by hand", Some(promotion(3, "v1")), progress(4, "v1"), "up to date"),
            ("rolled back", Some(promotion(7, "v2")), held.clone(), "held"),
            ("promoted after the rollback", Some(promotion(8, "v3")), held, "deploy"),
            ("stopped", Some(promotion(8, "v3")), stopped, "held"),
            ("without a counter", Some(promotion(0, "v1")), progress(0, ""), "deploy"),
        ] {
            let decided = match decide(answer, &progress) {
                Decision::NoVersion => "none",
                Decision::UpToDate => "up to date",
                Decision::Deploy(_) => "deploy",
                Decision::Held(_) => "held",
                Decision::FallenBack(_) => "fallen back",
            };
            assert_eq!(decided, want, "{name}");
        }
    }

    #[test]
    fn a_label_without_a_version_is_not_followed() {
        let bare = Promotion { version: None, ..promotion(1, "") };
        assert_eq!(decide(Some(bare), &Progress::default()), Decision::NoVersion);
    }
}
