//! Which files are pictures.

/// An image format that browsers show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// `.png`
    Png,
    /// `.jpg`, `.jpeg`
    Jpeg,
    /// `.gif`
    Gif,
    /// `.webp`
    Webp,
    /// `.svg`
    Svg,
}

impl ImageKind {
    /// By the name of the file, as in DVC.
    pub fn of(name: &str) -> Option<ImageKind> {
        let extension = name.rsplit('/').next()?.rsplit_once('.')?.1.to_ascii_lowercase();
        Some(match extension.as_str() {
            "png" => ImageKind::Png,
            "jpg" | "jpeg" => ImageKind::Jpeg,
            "gif" => ImageKind::Gif,
            "webp" => ImageKind::Webp,
            "svg" => ImageKind::Svg,
            _ => return None,
        })
    }

    /// The media type for a data URL.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            ImageKind::Png => "image/png",
            ImageKind::Jpeg => "image/jpeg",
            ImageKind::Gif => "image/gif",
            ImageKind::Webp => "image/webp",
            ImageKind::Svg => "image/svg+xml",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_their_names() {
        for (name, want) in [
            ("a/b.PNG", Some("image/png")),
            ("x.jpeg", Some("image/jpeg")),
            ("x.svg", Some("image/svg+xml")),
            ("png", None),
            ("dir.png/x", None),
            ("x.csv", None),
        ] {
            assert_eq!(ImageKind::of(name).map(ImageKind::media_type), want, "{name}");
        }
    }
}
