//! One suite for every kind of remote: each check runs on a folder and on every real server.
//!
//! A check takes a [`Target`], an empty place of its own at the remote. Which checks a server can show is written down
//! here, property by property (a server that lets everybody in refuses no credentials). The tests of servers are ignored
//! by `cargo test`; `.ci/servers up` starts them, and `cargo test -- --include-ignored` runs them.

use crate::checks::{damage, garbage, killed, refused, together, travel, verify, weather};
use crate::target::Target;

/// Makes a module of tests for one remote: the checks that hold everywhere, and those of its properties:
///
/// - `server`: it listens on a port;
/// - `http`: a proxy can read its requests;
/// - `files`: its files lie on this disk under their own names;
/// - `logins`: it refuses wrong credentials;
/// - `buckets`: its buckets have to be made first.
macro_rules! suite {
    ($name:ident $(, $property:ident)*) => {
        mod $name {
            use super::*;

            checks! { $name:
                travel::what_is_pushed_is_pulled,
                travel::the_run_cache_goes_along,
                killed::a_push_killed_at_any_moment_is_made_good_by_the_next,
                killed::a_pull_killed_at_any_moment_is_made_good_by_the_next,
                together::two_clones_push_at_once,
                garbage::what_nobody_needs_goes_in_two_steps,
            }
            $(suite! { @$property $name })*
        }
    };
    (@server $name:ident) => {
        checks! { $name:
            killed::a_server_that_dies_in_a_transfer_loses_nothing,
            refused::a_host_that_does_not_answer_is_one_clear_error,
        }
    };
    (@http $name:ident) => {
        checks! { $name:
            travel::only_what_is_missing_travels,
            travel::nothing_to_do_takes_under_five_requests,
            travel::two_thousand_small_files_take_a_handful_of_requests,
            garbage::a_cleaning_in_bad_weather_harms_nothing,
            weather::refusals_and_lost_connections_are_survived,
            weather::bytes_changed_on_the_way_are_noticed,
        }
    };
    (@files $name:ident) => {
        checks! { $name:
            damage::damaged_objects_never_reach_the_workspace,
            damage::truncated_objects_never_reach_the_workspace,
            damage::lost_objects_are_named,
            damage::a_remote_that_is_not_there_any_more_is_refused,
            together::the_summary_lists_all_pushes_that_overlap,
            verify::damage_is_found_and_put_again,
        }
    };
    (@logins $name:ident) => {
        checks! { $name: refused::wrong_credentials_are_one_clear_error, }
    };
    (@buckets $name:ident) => {
        checks! { $name: refused::a_bucket_that_does_not_exist_is_one_clear_error, }
    };
}

/// One test a check. Those of a folder always run, those of a server are ignored unless they are asked for.
macro_rules! checks {
    (folder: $($room:ident::$check:ident,)*) => {
        $(
            #[test]
            fn $check() {
                $room::$check(&Target::named("folder"));
            }
        )*
    };
    ($name:ident: $($room:ident::$check:ident,)*) => {
        $(
            #[test]
            #[ignore = "needs the server (.ci/servers)"]
            fn $check() {
                $room::$check(&Target::named(stringify!($name)));
            }
        )*
    };
}

suite!(folder, files);
suite!(s3, server, http, files, logins, buckets);
suite!(azure, server, http, logins, buckets);
suite!(gcs, server, http, buckets);
suite!(webdav, server, http, files, logins);
suite!(sftp, server, files, logins);

#[test]
#[ignore = "needs the servers (.ci/servers)"]
fn what_webdav_was_given_is_read_over_http() {
    travel::what_was_pushed_is_read_over_http();
}
