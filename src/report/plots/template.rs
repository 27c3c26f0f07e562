//! The ways to draw a plot, by DVC's names.

/// A built-in template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Template {
    /// A line through the points.
    #[default]
    Linear,
    /// A line, with each point marked.
    Simple,
    /// A smoothed line (LOESS), the values faint behind it.
    Smooth,
    /// A dot for each row.
    Scatter,
    /// Dots that are moved a little, so that equal ones can be distinguished.
    ScatterJitter,
    /// A bar for each x, as high as y.
    Bar,
    /// A bar for each y, as long as x.
    BarHorizontal,
    /// Horizontal bars, the longest on top.
    BarHorizontalSorted,
    /// A matrix: how often each pair of x and y occurs.
    Confusion,
    /// A matrix: the share of each pair in all rows with that y.
    ConfusionNormalized,
}

impl Template {
    /// All built-in templates, in the order of `lockstep plots templates`.
    pub const ALL: [Template; 10] = [
        Template::Linear,
        Template::Simple,
        Template::Smooth,
        Template::Scatter,
        Template::ScatterJitter,
        Template::Bar,
        Template::BarHorizontal,
        Template::BarHorizontalSorted,
        Template::Confusion,
        Template::ConfusionNormalized,
    ];

    /// DVC's name: `bar_horizontal`.
    pub fn name(self) -> &'static str {
        match self {
            Template::Linear => "linear",
            Template::Simple => "simple",
            Template::Smooth => "smooth",
            Template::Scatter => "scatter",
            Template::ScatterJitter => "scatter_jitter",
            Template::Bar => "bar",
            Template::BarHorizontal => "bar_horizontal",
            Template::BarHorizontalSorted => "bar_horizontal_sorted",
            Template::Confusion => "confusion",
            Template::ConfusionNormalized => "confusion_normalized",
        }
    }

    /// A one-line description.
    pub fn about(self) -> &'static str {
        match self {
            Template::Linear => "a line through the points",
            Template::Simple => "the same, with each point marked",
            Template::Smooth => "a smoothed line (LOESS), the values faint behind it",
            Template::Scatter => "a dot for each row",
            Template::ScatterJitter => "the same, dots moved a little so that equal ones can be told apart",
            Template::Bar => "a bar for each x, as high as y",
            Template::BarHorizontal => "a bar for each y, as long as x",
            Template::BarHorizontalSorted => "the same, the longest on top",
            Template::Confusion => "how often each pair of x and y occurs",
            Template::ConfusionNormalized => "the same, as a share of all rows with that y",
        }
    }

    /// By DVC's name; `None` for a template of the project.
    pub(super) fn named(name: &str) -> Option<Template> {
        // DVC's default has a name of its own in old projects.
        let name = if name == "default" { "linear" } else { name };
        Template::ALL.into_iter().find(|template| template.name() == name)
    }

    /// Returns true for a matrix, whose axes are categories.
    pub(super) fn is_confusion(self) -> bool {
        matches!(self, Template::Confusion | Template::ConfusionNormalized)
    }

    /// Returns true for horizontal bars, with the categories on the y axis.
    pub fn is_horizontal(self) -> bool {
        matches!(self, Template::BarHorizontal | Template::BarHorizontalSorted)
    }

    /// Returns true for bars of any direction.
    pub(super) fn is_bar(self) -> bool {
        self == Template::Bar || self.is_horizontal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for template in Template::ALL {
            assert_eq!(Template::named(template.name()), Some(template));
        }
        assert_eq!(Template::named("default"), Some(Template::Linear));
        assert_eq!(Template::named("Linear"), None);
    }
}
