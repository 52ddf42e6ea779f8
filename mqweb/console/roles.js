// Who may do what, so that nothing is offered that would be refused. mqd judges; a test holds
// this table equal to its own. Pure.

const WORKERS = ["agent", "admin"];
const KEEPERS = ["secretary", "admin"];
const ADMINS = ["admin"];

/** The roles for each verb that not everybody may use. */
export const ONLY = {
  PUSH: WORKERS,
  PULL: WORKERS,
  ACK: WORKERS,
  NACK: WORKERS,
  REJECT: WORKERS,
  EXTEND: WORKERS,
  STEP: WORKERS,
  CANCEL: WORKERS,
  CREATE: ADMINS,
  DELETE: ADMINS,
  PURGE: ADMINS,
  PAUSE: ADMINS,
  RESUME: ADMINS,
  REDRIVE: ADMINS,
  SNAPSHOT: ADMINS,
  BACKUP: ADMINS,
  FRAMES: ADMINS,
  USERS: KEEPERS,
  ADMIT: KEEPERS,
  ALTER: KEEPERS,
  EXPEL: KEEPERS,
};

const SAME = { administrator: "admin", manager: "agent", basic: "user" };
const WORDS = { admin: "administrator", agent: "agent", user: "user", secretary: "secretary" };

/** Whether a role may use a verb. */
export function allows(role, verb) {
  const roles = ONLY[verb];
  return roles === undefined || roles.includes(SAME[role] ?? role);
}

/** A role as people say it. */
export function roleWord(role) {
  return WORDS[SAME[role] ?? role] ?? role;
}
