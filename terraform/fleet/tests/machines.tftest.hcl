# How machines are made, and what of them terraform leaves to others.

mock_provider "google" {}

variables {
  fleet = {
    google = { project = "acme-data-science", region = "europe-west4" }
    access = { exposure = "private" }
    workspaces = {
      plain = {
        owner        = "alice@acme.example"
        image        = "base"
        machine_type = "n2-standard-8"
        boot_disk_gb = 50
      }
      built-in = {
        owner        = "alice@acme.example"
        image        = "cuda"
        machine_type = "g2-standard-16"
        boot_disk_gb = 50
      }
      attached = {
        owner        = "alice@acme.example"
        image        = "cuda"
        machine_type = "n1-standard-8"
        gpu          = { type = "nvidia-tesla-t4", count = 2 }
        boot_disk_gb = 50
      }
    }
  }
  images = {
    plain    = "projects/acme-data-science/global/images/base-1"
    built-in = "projects/acme-data-science/global/images/cuda-1"
    attached = "projects/acme-data-science/global/images/cuda-1"
  }
  homes = {
    plain    = { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-plain", zone = "europe-west4-a", type = "pd-balanced" }
    built-in = { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-built-in", zone = "europe-west4-a", type = "pd-balanced" }
    attached = { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-attached", zone = "europe-west4-a", type = "pd-balanced" }
  }
  network = {
    subnetwork = "https://www.googleapis.com/compute/v1/projects/acme-data-science/regions/europe-west4/subnetworks/workspaces"
    tags       = { workspace = "workspace", public = "workspace-public", private = "workspace-private" }
  }
  buckets = { cache = "acme-cache" }
}

# Before any is applied: what exists is not terraform's to tell.
run "a_machine_is_told_what_to_run_if_that_is_known" {
  command = plan

  variables {
    systems = { plain = "/nix/store/00000000000000000000000000000000-nixos-system-plain" }
  }

  assert {
    condition = {
      for name, machine in google_compute_instance.workspaces : name => machine.metadata["workspace-system"]
      if contains(keys(machine.metadata), "workspace-system")
    } == { plain = "/nix/store/00000000000000000000000000000000-nixos-system-plain" }
    error_message = "a machine's first boot would fetch another system, or none"
  }
}

run "a_machine_with_a_gpu_is_not_moved_while_it_runs" {
  command = plan

  assert {
    condition = { for name, machine in google_compute_instance.workspaces : name => machine.scheduling[0].on_host_maintenance } == {
      plain    = "MIGRATE"
      built-in = "TERMINATE"
      attached = "TERMINATE"
    }
    error_message = "Google would refuse a machine with a GPU, or stop one without"
  }
}

run "a_machine_type_that_cannot_be_moved_is_stopped_instead" {
  command = plan

  variables {
    fleet = {
      google = { project = "acme-data-science", region = "europe-west4" }
      access = { exposure = "private" }
      workspaces = {
        for name, machine_type in {
          c4-metal = "c4-standard-288-metal"
          h3       = "h3-standard-88"
          h4d      = "h4d-standard-192"
          z3-large = "z3-highmem-88-highlssd"
          z3-small = "z3-highmem-22-standardlssd"
        } : name => { owner = "alice@acme.example", image = "base", machine_type = machine_type, boot_disk_gb = 50 }
      }
    }
    images = { for name in ["c4-metal", "h3", "h4d", "z3-large", "z3-small"] : name => "projects/acme-data-science/global/images/base-1" }
    homes = {
      for name, type in { c4-metal = "hyperdisk-balanced", h3 = "pd-balanced", h4d = "hyperdisk-balanced", z3-large = "pd-balanced", z3-small = "pd-balanced" } :
      name => { id = "projects/acme-data-science/zones/europe-west4-a/disks/home-${name}", zone = "europe-west4-a", type = type }
    }
  }

  assert {
    condition = { for name, machine in google_compute_instance.workspaces : name => machine.scheduling[0].on_host_maintenance } == {
      c4-metal = "TERMINATE"
      h3       = "MIGRATE"
      h4d      = "TERMINATE"
      z3-large = "TERMINATE"
      z3-small = "MIGRATE"
    }
    error_message = "Google would refuse a machine, or stop one that it could move"
  }
}

run "gpus_are_attached_where_the_fleet_says" {
  command = plan

  assert {
    condition     = [for gpu in google_compute_instance.workspaces["attached"].guest_accelerator : "${gpu.count} ${gpu.type}"] == ["2 nvidia-tesla-t4"]
    error_message = "the GPUs are not those of the fleet"
  }

  assert {
    condition     = length(google_compute_instance.workspaces["built-in"].guest_accelerator) + length(google_compute_instance.workspaces["plain"].guest_accelerator) == 0
    error_message = "a machine is given GPUs that it has built in, or none of"
  }
}

run "machines_are_shielded" {
  command = plan

  assert {
    condition     = alltrue([for machine in google_compute_instance.workspaces : machine.shielded_instance_config[0].enable_vtpm && machine.shielded_instance_config[0].enable_integrity_monitoring])
    error_message = "a machine has no vTPM or no integrity monitoring"
  }

  # The image is not signed: with secure boot it would not start.
  assert {
    condition     = alltrue([for machine in google_compute_instance.workspaces : !machine.shielded_instance_config[0].enable_secure_boot])
    error_message = "a machine would not boot"
  }
}

run "os_login_is_the_only_way_in_by_ssh" {
  command = plan

  assert {
    condition = alltrue([for machine in google_compute_instance.workspaces : machine.metadata == tomap({
      block-project-ssh-keys  = "TRUE"
      enable-guest-attributes = "TRUE"
      enable-oslogin          = "TRUE"
      serial-port-enable      = "FALSE"
    })])
    error_message = "the metadata is not exactly what is documented"
  }
}

run "machines_use_gvnic" {
  command = plan

  assert {
    condition     = alltrue([for machine in google_compute_instance.workspaces : machine.network_interface[0].nic_type == "GVNIC"])
    error_message = "a machine has a slower network device than it could"
  }
}

run "a_machine_type_changes_by_a_stop" {
  command = plan

  assert {
    condition     = alltrue([for machine in google_compute_instance.workspaces : machine.allow_stopping_for_update])
    error_message = "a machine would have to be deleted to be made larger"
  }
}

run "power_is_left_alone" {
  command = plan

  assert {
    condition     = alltrue([for machine in google_compute_instance.workspaces : machine.desired_status == null])
    error_message = "terraform would start a machine that somebody stopped"
  }
}

# The two runs share a state: the first makes the machines, the second plans with another image.
run "a_machine_boots_from_its_image" {
  assert {
    condition     = google_compute_instance.workspaces["plain"].boot_disk[0].initialize_params[0].image == "projects/acme-data-science/global/images/base-1"
    error_message = "the machine has another image"
  }
}

run "a_new_image_leaves_machines_alone" {
  command = plan

  variables {
    images = {
      plain    = "projects/acme-data-science/global/images/base-2"
      built-in = "projects/acme-data-science/global/images/cuda-2"
      attached = "projects/acme-data-science/global/images/cuda-2"
    }
  }

  assert {
    condition = { for name, machine in google_compute_instance.workspaces : name => machine.boot_disk[0].initialize_params[0].image } == {
      plain    = "projects/acme-data-science/global/images/base-1"
      built-in = "projects/acme-data-science/global/images/cuda-1"
      attached = "projects/acme-data-science/global/images/cuda-1"
    }
    error_message = "a new image would replace a running machine"
  }
}

run "an_image_family_is_refused" {
  command = plan

  variables {
    images = {
      plain    = "projects/acme-data-science/global/images/family/base"
      built-in = "projects/acme-data-science/global/images/cuda-1"
      attached = "projects/acme-data-science/global/images/cuda-1"
    }
  }

  expect_failures = [var.images]
}

run "a_workspace_without_a_home_is_refused" {
  command = plan

  variables {
    homes = {}
  }

  expect_failures = [var.homes]
}

run "no_schedule_unless_asked_for" {
  command = plan

  assert {
    condition     = length(google_compute_resource_policy.stop) == 0
    error_message = "machines would be stopped by a schedule that nobody asked for"
  }
}

run "a_schedule_stops_every_machine_from_outside" {
  variables {
    stop_schedule = { cron = "0 20 * * *", time_zone = "Europe/Amsterdam" }
  }

  assert {
    condition     = alltrue([for machine in google_compute_instance.workspaces : machine.resource_policies == tolist([google_compute_resource_policy.stop[0].id])])
    error_message = "a machine is not stopped by the schedule"
  }

  assert {
    condition     = length(google_compute_resource_policy.stop[0].instance_schedule_policy[0].vm_start_schedule) == 0
    error_message = "the schedule starts machines that nobody asked for"
  }
}

run "a_system_is_a_path_of_the_store" {
  command = plan

  variables {
    systems = { plain = "nixos-system-plain" }
  }

  expect_failures = [var.systems]
}

run "a_machine_that_exists_is_told_nothing" {
  command = plan

  variables {
    systems = { plain = "/nix/store/00000000000000000000000000000000-nixos-system-plain" }
  }

  assert {
    condition     = alltrue([for machine in google_compute_instance.workspaces : !contains(keys(machine.metadata), "workspace-system")])
    error_message = "an apply would have a machine run another system"
  }
}
