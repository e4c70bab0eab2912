# A workspace may make machines in its scale-out project and nowhere else, and nothing there lets it do more.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "public", login = "password" }
    workspaces = {
      alice = {
        owner             = "alice@acme.example"
        domain            = "alice.endpoints.acme-data-science.cloud.goog"
        image             = "base"
        machine_type      = "n2-standard-8"
        boot_disk_gb      = 50
        scale_out_project = "acme-jobs"
      }
      bob = {
        owner        = "bob@acme.example"
        domain       = "bob.endpoints.acme-data-science.cloud.goog"
        image        = "base"
        machine_type = "n2-standard-8"
        boot_disk_gb = 50
      }
      carol = {
        owner             = "carol@acme.example"
        domain            = "carol.endpoints.acme-data-science.cloud.goog"
        image             = "base"
        machine_type      = "n2-standard-8"
        boot_disk_gb      = 50
        scale_out_project = "acme-jobs-of-carol"
      }
    }
  }
  images = {
    alice = "projects/acme-data-science/global/images/base-1"
    bob   = "projects/acme-data-science/global/images/base-1"
    carol = "projects/acme-data-science/global/images/base-1"
  }
  homes = {
    alice = { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-alice", zone = "europe-west4-a", type = "pd-balanced" }
    bob   = { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-bob", zone = "europe-west4-a", type = "pd-balanced" }
    carol = { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-carol", zone = "europe-west4-a", type = "pd-balanced" }
  }
  network = {
    subnetwork = "https://www.googleapis.com/compute/v1/projects/acme-data-science/regions/europe-west4/subnetworks/workspaces"
    tags       = { workspace = "workspace", public = "workspace-public", private = "workspace-private" }
  }
  buckets = { cache = "acme-cache" }
}

run "who_acts_in_a_scale_out_project" {
  assert {
    condition = toset([for grant in google_project_iam_member.scale_out : "${grant.project} ${grant.member} ${grant.role}"]) == toset([
      "acme-jobs serviceAccount:workspace-alice@acme-data-science.iam.gserviceaccount.com projects/acme-jobs/roles/workspaceScaleOut",
      "acme-jobs serviceAccount:skypilot-v1@acme-jobs.iam.gserviceaccount.com projects/acme-jobs/roles/workspaceScaleOut",
      "acme-jobs-of-carol serviceAccount:workspace-carol@acme-data-science.iam.gserviceaccount.com projects/acme-jobs-of-carol/roles/workspaceScaleOut",
      "acme-jobs-of-carol serviceAccount:skypilot-v1@acme-jobs-of-carol.iam.gserviceaccount.com projects/acme-jobs-of-carol/roles/workspaceScaleOut",
    ])
    error_message = "somebody else acts in a scale-out project, or with another role"
  }

  assert {
    condition = toset([for grant in google_service_account_iam_member.scale_out : "${grant.member} ${grant.role} ${grant.service_account_id}"]) == toset([
      "serviceAccount:workspace-alice@acme-data-science.iam.gserviceaccount.com roles/iam.serviceAccountUser projects/acme-jobs/serviceAccounts/skypilot-v1@acme-jobs.iam.gserviceaccount.com",
      "serviceAccount:skypilot-v1@acme-jobs.iam.gserviceaccount.com roles/iam.serviceAccountUser projects/acme-jobs/serviceAccounts/skypilot-v1@acme-jobs.iam.gserviceaccount.com",
      "serviceAccount:workspace-carol@acme-data-science.iam.gserviceaccount.com roles/iam.serviceAccountUser projects/acme-jobs-of-carol/serviceAccounts/skypilot-v1@acme-jobs-of-carol.iam.gserviceaccount.com",
      "serviceAccount:skypilot-v1@acme-jobs-of-carol.iam.gserviceaccount.com roles/iam.serviceAccountUser projects/acme-jobs-of-carol/serviceAccounts/skypilot-v1@acme-jobs-of-carol.iam.gserviceaccount.com",
    ])
    error_message = "somebody may use another account than SkyPilot's of their project"
  }

  assert {
    condition     = toset([for grant in google_project_iam_member.machines : grant.role]) == toset(["roles/logging.logWriter", "roles/monitoring.metricWriter"]) && alltrue([for grant in google_project_iam_member.machines : grant.project == "acme-data-science"])
    error_message = "in the fleet's project, a machine may do something else than write logs and metrics"
  }
}

run "the_role_gives_no_way_to_more" {
  assert {
    condition = alltrue(flatten([
      for role in google_project_iam_custom_role.scale_out : [
        for permission in role.permissions : (
          !strcontains(permission, "setIamPolicy") && !startswith(permission, "iam.roles.u") && !startswith(permission, "iam.roles.c") &&
          permission != "iam.serviceAccounts.actAs" && !startswith(permission, "iam.serviceAccountKeys") &&
          !startswith(permission, "compute.firewalls.c") && !startswith(permission, "compute.projects.set")
        )
      ]
    ]))
    error_message = "the role lets its holders give themselves more"
  }

  assert {
    condition     = keys(google_project_iam_custom_role.scale_out) == ["acme-jobs", "acme-jobs-of-carol"] && alltrue([for project, role in google_project_iam_custom_role.scale_out : role.project == project])
    error_message = "the role is somewhere else than in the scale-out projects"
  }
}

run "only_the_workspaces_of_a_project_reach_its_machines" {
  assert {
    condition = toset([
      for rule in google_compute_firewall.scale_out_ssh :
      "${rule.project} ${join(",", rule.source_ranges)} ${join(",", flatten([for allow in rule.allow : [for port in allow.ports : "${allow.protocol}:${port}"]]))}"
      ]) == toset([
      "acme-jobs ${google_compute_address.workspaces["alice"].address}/32 tcp:22",
      "acme-jobs-of-carol ${google_compute_address.workspaces["carol"].address}/32 tcp:22",
    ])
    error_message = "SSH is open to somebody else than the project's workspaces, or something else than SSH is"
  }

  assert {
    condition     = alltrue([for rule in google_compute_firewall.scale_out_inside : rule.source_ranges == toset(["10.128.0.0/9"])])
    error_message = "machines are open to others than those of their own network"
  }
}

run "without_a_scale_out_project_there_is_nothing_of_it" {
  command = plan

  variables {
    fleet = {
      google = { project = "acme-data-science", region = "europe-west4" }
      access = { exposure = "public", login = "password" }
      workspaces = {
        bob = {
          owner        = "bob@acme.example"
          domain       = "bob.endpoints.acme-data-science.cloud.goog"
          image        = "base"
          machine_type = "n2-standard-8"
          boot_disk_gb = 50
        }
      }
    }
  }

  assert {
    condition = (
      length(google_project_service.scale_out) + length(google_project_iam_custom_role.scale_out) + length(google_service_account.scale_out) +
      length(google_project_iam_member.scale_out) + length(google_service_account_iam_member.scale_out) + length(google_compute_network.scale_out) +
      length(google_compute_firewall.scale_out_inside) + length(google_compute_firewall.scale_out_ssh)
    ) == 0
    error_message = "something of a scale-out project is made for nobody"
  }
}

run "private_workspaces_leave_by_unknown_addresses_so_ssh_stays_closed" {
  command = plan

  variables {
    fleet = {
      google = { project = "acme-data-science", region = "europe-west4" }
      access = { exposure = "private" }
      workspaces = {
        alice = {
          owner             = "alice@acme.example"
          image             = "base"
          machine_type      = "n2-standard-8"
          boot_disk_gb      = 50
          scale_out_project = "acme-jobs"
        }
      }
    }
  }

  assert {
    condition     = length(google_compute_firewall.scale_out_ssh) == 0 && length(google_compute_network.scale_out) == 1
    error_message = "SSH is open to addresses that are nobody's in particular"
  }
}

run "the_fleets_own_project_is_refused" {
  command = plan

  variables {
    fleet = {
      google = { project = "acme-data-science", region = "europe-west4" }
      access = { exposure = "public", login = "password" }
      workspaces = {
        alice = {
          owner             = "alice@acme.example"
          domain            = "alice.endpoints.acme-data-science.cloud.goog"
          image             = "base"
          machine_type      = "n2-standard-8"
          boot_disk_gb      = 50
          scale_out_project = "acme-data-science"
        }
      }
    }
  }

  expect_failures = [var.fleet]
}
