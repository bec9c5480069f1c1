const starter = `// Policies say which agent may do what with which credential. What no policy permits is denied.
// They are written in Cedar (https://docs.cedarpolicy.com), over the vocabulary that is described in
// docs/explanation/policy.md. Try a change before it counts:
//
//   leasehold policy check
//   leasehold policy explain --agent reporter --action use --credential billing-db/readonly
//
// A running broker takes a change over within a second or two. If something is wrong with it, the
// policies from before stay in force.

// A permit, in the form that most have. Take the slashes away and put in your own names:
//
// @id("reporter-uses-billing")
// @description("Reporting runs its queries on billing, fifteen minutes at a time")
// @max_ttl("15m")
// permit (
//   principal in Leasehold::Role::"data-retrieval",
//   action in [Leasehold::Action::"use", Leasehold::Action::"inject"],
//   resource == Leasehold::Credential::"billing-db/readonly"
// );

// Agents with the role "catalogue-reader" may see which credentials there are. To see is not to use.
@id("catalogue-readers-list")
permit (
  principal in Leasehold::Role::"catalogue-reader",
  action == Leasehold::Action::"list",
  resource
);

// Nobody sees a credential for customer data in clear, whatever else permits it: a forbid always wins.
@id("customer-data-is-never-revealed")
forbid (
  principal,
  action == Leasehold::Action::"reveal",
  resource
) when { resource.hasTag("data") && resource.getTag("data") == "customer" };
`;

/** What `leasehold init` puts into a new policy directory: file name to text. Nothing in it lends anything. */
export function starterPolicies(): Readonly<Record<string, string>> {
  return { "leasehold.cedar": starter };
}
