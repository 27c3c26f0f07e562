//! What is made for people to look at: pages and charts.

pub mod plots;
