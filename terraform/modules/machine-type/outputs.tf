output "disk_types" {
  description = "The type of disk that each machine type is given: one that it takes, balanced between price and speed."
  value = {
    for machine_type in var.machine_types : machine_type => (
      anytrue([for family in local.hyperdisk_only : startswith(machine_type, "${family}-")]) ? "hyperdisk-balanced" : "pd-balanced"
    )
  }
}

output "stays_on_host" {
  description = "Whether a machine of each machine type stops when its host is maintained, because it cannot be moved."
  value = {
    for machine_type in var.machine_types : machine_type => anytrue([for pattern in local.stays_on_host : can(regex(pattern, machine_type))])
  }
}
