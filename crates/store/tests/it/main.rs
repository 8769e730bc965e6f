//! The store's contract: one list of tests, run on SQLite and on Postgres. A Postgres server is needed, see
//! `dynowatch_testkit::postgres`; without one these tests fail.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test panics when it fails")]

mod accounts;
mod alerts;
mod apps;
mod backup;
mod bed;
mod checks;
mod concurrency;
mod evaluate;
mod heroku;
mod journal;
mod metrics;
mod metrics_size;
mod open;
mod outbox;
mod small;

/// Runs each test on both engines, on a fresh store each.
macro_rules! on_both_engines {
    ($($module:ident: $($test:ident)*;)*) => {
        mod sqlite {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$module::$test(&crate::bed::Bed::sqlite().await).await;
            })*)*
        }
        mod postgres {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$module::$test(&crate::bed::Bed::postgres().await).await;
            })*)*
        }
    };
}

on_both_engines! {
    accounts: the_log_is_only_added_to_and_meddling_shows a_change_and_its_entry_are_one
        a_code_is_used_once_in_any_race shut_out_means_everywhere_at_once
        a_confirmation_is_used_up_with_its_change the_first_account_is_made_once;
    open: answers_and_reopens a_newer_schema_is_refused;
    evaluate: a_frame_counts_once_per_app what_is_known_is_saved_at_once a_key_comes_back_whole
        what_an_alert_consumed_stays_gone
        a_panic_leaves_nothing a_dropped_future_leaves_all_or_nothing hundreds_of_keys_at_once
        decisions_are_numbered_on lines_of_one_release_merge an_unknown_app_is_not_found
        no_nul_reaches_the_database;
    outbox: oldest_first_and_fair a_claim_is_fenced_and_leased retries_and_ends
        the_end_is_told_to_those_who_were_told a_late_acceptance_is_followed_by_the_end
        leases_are_given_back pages_of_deliveries a_test_message;
    alerts: open_alerts_show_their_newest_numbers pages_of_alerts lines_that_are_kept open_keys_are_found an_alert_with_its_proof;
    apps: names_and_renames adoption_is_one_app_under_races tokens_move last_lines;
    small: api_tokens objects_of_the_console rules_are_quiet_for_a_while leases_have_fences processes_know_when_anyone_was_alive
        blind_times buckets_add_up due_keys_and_groups sweeping_forgets_what_is_old;
    heroku: apps_of_the_account parts_of_a_row_are_written_apart lists_know_when_they_were_read rotations_go_one_step_at_a_time
        the_api_completes_releases the_account_names_tokens;
    concurrency: claims_never_double evaluations_of_one_app_take_turns buckets_from_two_sides
        evaluations_of_many_apps_do_not_deadlock;
    metrics: series_have_one_number a_fold_broken_off_counts_once rows_roll_into_longer_steps old_values_are_forgotten
        large_chunks_come_in_order paths_add_up events_and_states;
    checks: a_check_has_one_number_for_ever state_comes_back_and_is_written_by_its_owner_only a_check_and_its_alert_are_one
        checks_are_shared_out a_check_has_one_owner_in_any_race wishes_wait_until_they_are_fulfilled flips_and_outages
        runs_come_back pings_are_taken_in_once blindness_counts_while_a_process_lives checks_and_windows_of_the_console
        what_nobody_wants_is_forgotten_in_the_end;
    backup: a_backup_moves_to_the_other_engine a_filled_store_is_refused broken_backups_change_nothing;
}
