//! The picture as a page: the drawing, and a note that shows a memory in full when it is pointed at.

use super::Picture;
use super::svg::{self, Use, escape};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Writes the page. It asks for nothing from anywhere.
pub(super) fn write(picture: &Picture) -> String {
    let title = escape(&picture.title);
    let drawing = svg::draw(picture, Use::InPage);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{drawing}</main>\n\
         <aside id=\"note\" role=\"tooltip\" hidden><strong></strong><p></p><small></small></aside>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}
