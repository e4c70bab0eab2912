# Who stops machines on a schedule: Compute Engine's own account, and only where a schedule needs it.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "public" }
  }
  bucket_names = { state = "acme-state", images = "acme-images", cache = "acme-cache" }
}

run "without_a_schedule_nobody_is_given_a_role" {
  command = plan

  assert {
    condition     = length(google_project_iam_member.compute_engine) == 0
    error_message = "Compute Engine's own account has a role without a schedule that needs it"
  }

  assert {
    condition     = output.stop_schedule == null
    error_message = "machines would be stopped by a schedule that nobody asked for"
  }
}

run "with_a_schedule_compute_engine_may_stop_machines" {
  command = plan

  variables {
    stop_schedule = { cron = "0 20 * * *", time_zone = "Europe/Amsterdam" }
  }

  assert {
    condition     = [for grant in google_project_iam_member.compute_engine : "${grant.member} ${grant.role}"] == ["serviceAccount:service-123456789012@compute-system.iam.gserviceaccount.com roles/compute.instanceAdmin.v1"]
    error_message = "Compute Engine's own account has not exactly the role that Google documents"
  }

  assert {
    condition     = output.stop_schedule == { cron = "0 20 * * *", time_zone = "Europe/Amsterdam" }
    error_message = "the root fleet is not told the schedule"
  }
}

run "a_schedule_that_cron_does_not_know_is_refused" {
  command = plan

  variables {
    stop_schedule = { cron = "20:00", time_zone = "Europe/Amsterdam" }
  }

  expect_failures = [var.stop_schedule]
}

run "a_time_zone_that_is_none_is_refused" {
  command = plan

  variables {
    stop_schedule = { cron = "0 20 * * *", time_zone = "+01:00" }
  }

  expect_failures = [var.stop_schedule]
}
