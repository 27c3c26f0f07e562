//! One suite for every sort of remote: each check runs on a folder and on every server that is there.
//!
//! A check takes a [`Target`], an empty place of its own at the remote. What a server cannot show (one that lets everybody
//! in refuses no credentials) is printed as skipped, with the reason.

use crate::checks::{damage, garbage, killed, refused, together, travel, verify, weather};
use crate::target::Target;

/// Makes a test of each check for one remote.
macro_rules! suite {
    ($name:ident) => {
        mod $name {
            use super::*;

            suite! { $name:
                travel::what_is_pushed_is_pulled,
                travel::only_what_is_missing_travels,
                travel::nothing_to_do_takes_under_five_requests,
                travel::two_thousand_small_files_take_a_handful_of_requests,
                travel::the_run_cache_goes_along,
                killed::a_push_killed_at_any_moment_is_made_good_by_the_next,
                killed::a_pull_killed_at_any_moment_is_made_good_by_the_next,
                killed::a_server_that_dies_in_a_transfer_loses_nothing,
                damage::damaged_objects_never_reach_the_workspace,
                damage::truncated_objects_never_reach_the_workspace,
                damage::lost_objects_are_named,
                verify::damage_is_found_and_put_again,
                refused::wrong_credentials_are_one_clear_error,
                refused::a_bucket_that_does_not_exist_is_one_clear_error,
                refused::a_host_that_does_not_answer_is_one_clear_error,
                together::two_clones_push_at_once,
                garbage::what_nobody_needs_goes_in_two_steps,
                garbage::a_cleaning_in_bad_weather_harms_nothing,
                weather::refusals_and_lost_connections_are_survived,
                weather::bytes_changed_on_the_way_are_noticed,
            }
        }
    };
    ($name:ident: $($room:ident::$check:ident,)*) => {
        $(
            #[test]
            fn $check() {
                if let Some(target) = Target::named(stringify!($name)) {
                    $room::$check(&target);
                }
            }
        )*
    };
}

suite!(folder);
suite!(s3);
suite!(azure);
suite!(gcs);
suite!(webdav);
suite!(sftp);

#[test]
fn what_webdav_was_given_is_read_over_http() {
    travel::what_was_pushed_is_read_over_http();
}
