output "by_machine_type" {
  description = "The type of disk that each machine type is given: one that it takes, balanced between price and speed."
  value = {
    for machine_type in var.machine_types : machine_type => (
      anytrue([for family in local.hyperdisk_only : startswith(machine_type, "${family}-")]) ? "hyperdisk-balanced" : "pd-balanced"
    )
  }
}
