//! The acceptance scenarios: an engine in this process, a moved clock, receivers that speak HTTP, and both stores.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a broken expectation ends the test"
)]

mod body;
mod checks;
mod checks_evidence;
mod checks_schedule;
mod checks_shared;
mod checks_trial;
mod counting;
mod harness;
mod heroku;
mod levels;
mod metrics;
mod model;
mod outbox;
mod remote_write;
mod restarts;
mod script;
mod thresholds;

/// Runs each scenario on both engines.
macro_rules! on_both {
    ($($module:ident: $($scenario:ident)*;)*) => {
        mod sqlite {
            $($(#[tokio::test]
            async fn $scenario() {
                crate::$module::$scenario(crate::harness::On::Sqlite).await;
            })*)*
        }
        mod postgres {
            $($(#[tokio::test]
            async fn $scenario() {
                crate::$module::$scenario(crate::harness::On::Postgres).await;
            })*)*
        }
    };
}

on_both! {
    checks:
        a9_thresholds_and_one_id
        a_certificate_is_warned_of_three_times
        a10_flapping_is_told_once
        a12_an_outage_survives_a_kill
        a15_a_misconfigured_check_pages_nobody
        a18_maintenance
        a19_a_blind_prober
        one_outage_one_page
        paused_and_removed_checks_close_without_a_word
        an_operator_closes_by_key
        jobs_that_report
        what_a_job_said_while_nobody_listened
        a_check_is_run_and_a_pin_accepted_when_asked
        a_target_in_a_config_var_follows_its_rotation
        config_vars_that_cannot_be_read_are_left_alone;
    checks_schedule:
        a6_no_overlap_and_the_grid
        a7_offsets_are_spread_and_stay
        a8_black_holes_starve_nobody
        a11_a_receiver_that_hangs_holds_up_no_check
        a_store_that_is_away_holds_up_no_run
        results_that_find_no_room_are_unknown
        four_config_vars_are_read_at_a_time
        a_clock_that_jumps_leaves_a_gap
        suspect_checks_run_faster;
    checks_evidence:
        a_check_and_its_apps_own_log;
    checks_trial:
        the_present_thresholds_give_the_pages_that_were_sent
        without_a_reader_there_are_no_drafts;
    thresholds:
        memory_over_ninety_percent_for_five_minutes
        a_backtest_says_what_was_told
        without_room_rules_on_metrics_are_unknown
        a_dip_starts_for_over
        a_gap_neither_fires_nor_resolves
        a_restart_goes_on_where_it_was
        counted_things_percentiles_and_labels
        a_replay_decides_alike
        own_values_and_apps;
    counting:
        s01_the_fourth_h12_trips
        s02_exactly_the_threshold_is_quiet
        s03_a_window_has_no_fixed_edges
        s04_a_sustained_storm_repeats_and_resolves_once
        s05_keys_share_no_cooldown
        s06_disorder_counts_at_its_own_stamps
        s07_a_repeated_frame_counts_once
        s08_a_flap_under_for_stays_quiet
        s09_dynos_recover_one_by_one
        a_batch_fires_by_itself
        a_late_line_fires_once
        stamps_of_months_ago_fire_once
        stamps_ahead_count_as_now
        a_refire_waits_for_the_cooldown
        a_short_refire_is_told_or_not_at_all
        groups_over_the_limit_share_one
        apps_over_the_limit_share_one
        closing_by_key_touches_no_other
        a_rule_is_switched_off_for_a_while
        an_adopted_app_keeps_its_state_when_renamed
        the_clock_goes_backwards;
    levels:
        a_kill_is_known_however_short
        s10_the_silence_of_an_app
        a_silence_outlives_our_own_blindness
        a_silent_app_is_not_resolved_by_our_absence
        a_share_of_errors
        a_share_is_unknown_while_we_were_blind;
    metrics:
        lines_of_an_hour_come_in_at_once
        answers_do_not_change_when_values_are_folded
        a_kill_loses_ten_seconds_at_most
        a_repeated_batch_is_counted_once
        d1_a_gap_is_a_gap
        alerts_go_on_where_metrics_have_no_room
        d3_the_quota_steps
        formation_and_strip
        steps_grow_longer_and_end;
    body:
        s11_the_body_says_it_all
        evidence_is_kept_byte_for_byte_with_its_context
        evidence_is_of_this_episode
        the_release_is_named_with_its_distance
        lost_lines_make_a_lower_bound
        secrets_stay_in_the_store;
    outbox:
        s39_one_good_and_one_bad_receiver
        s40_a_receiver_that_times_out
        a_lost_answer_makes_a_possible_duplicate
        a_refusal_is_final_and_loud
        a_slow_receiver_is_sent_a_few_at_a_time
        resolve_notices_go_to_those_who_were_told
        what_is_over_before_it_was_told_is_told_once;
    restarts:
        s20_a_reload_drops_nothing_and_repeats_nothing
        s42_a_restart_in_the_middle
        windows_outlive_a_restart
        a_body_whose_answer_was_lost_counts_once
        equal_bodies_that_were_answered_count_each
        a_short_absence_is_as_long_as_it_was
        housekeeping_is_one_processs_work
        a_crash_before_sending_loses_nothing
        a_crash_between_acceptance_and_result_may_repeat
        a_cooldown_outlives_a_restart
        a_resolve_that_was_late_forgets_as_a_punctual_one
        an_orderly_stop_keeps_everything
        a_longer_calm_after_a_reload_keeps_nobody_busy;
}
