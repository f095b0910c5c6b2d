//! What a node does with pods.

mod adoption;
mod itself;
mod life;
mod peers;
mod pressure;
mod resources;
mod shown;
mod streams;
mod volumes;

use futures::FutureExt;
use futures::future::BoxFuture;

type Case = fn() -> BoxFuture<'static, ()>;

macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => {
        pub const ALL: &[(&str, Case)] =
            &[$((stringify!($name), || $module::$name().boxed())),*];
    };
}

cases!(
    life::a_pod_runs_and_goes_when_it_is_deleted,
    life::a_container_that_ends_is_restarted_and_backs_off,
    life::a_stubborn_container_is_killed_after_its_grace,
    life::a_forgotten_pod_ends_at_once,
    life::a_pod_that_runs_once_keeps_its_outcome_and_message,
    life::an_image_that_is_missing_and_never_pulled_says_so,
    life::pods_reach_each_other_and_the_node_registers,
    itself::a_node_says_of_itself_what_it_was_told,
    itself::a_node_that_was_taken_for_lost_says_at_once_that_it_is_not,
    itself::a_node_that_was_deleted_registers_again,
    adoption::a_restarted_agent_adopts_what_runs,
    adoption::what_the_api_forgot_meanwhile_is_ended,
    adoption::every_actor_can_be_killed,
    adoption::a_lost_shim_restarts_its_pod,
    peers::nodes_that_join_are_connected_and_those_that_leave_are_not,
    streams::logs_are_followed_cut_and_kept_of_the_last_instance,
    streams::a_command_runs_with_its_input_output_and_code,
    streams::a_port_is_forwarded,
    streams::images_are_listed_loaded_and_removed,
    pressure::what_is_used_is_measured_and_told,
    pressure::under_memory_pressure_the_pod_that_exceeds_its_request_goes_first,
    pressure::under_disk_pressure_the_pod_with_the_most_on_disk_goes_first,
    pressure::a_container_that_writes_more_than_it_may_is_evicted,
    pressure::an_unsafe_sysctl_is_refused_and_a_safe_one_set,
    pressure::pods_end_with_the_machine_where_that_is_configured,
    resources::a_running_pod_is_given_other_resources,
    resources::a_resize_waits_for_room_and_what_can_never_be_is_told,
    resources::pods_from_files_run_are_mirrored_and_go_with_their_files,
    resources::containers_with_whole_processors_have_them_to_themselves,
    shown::a_projected_volume_holds_all_its_sources,
    shown::volumes_follow_the_objects_and_the_pod_that_they_show,
    shown::a_token_is_waited_for_and_renewed_before_it_ends,
    volumes::volumes_and_environment_hold_what_the_manifest_says,
    volumes::what_is_missing_is_waited_for,
);
