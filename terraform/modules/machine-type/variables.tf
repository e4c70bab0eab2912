variable "machine_types" {
  type        = set(string)
  description = "Google's names of machine types, such as n2-standard-8."
  nullable    = false

  validation {
    condition     = alltrue([for machine_type in var.machine_types : can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)+$", machine_type))])
    error_message = "A machine type is FAMILY-KIND or FAMILY-KIND-CPUS, such as n2-standard-8."
  }
}
