export const LABEL_PREFIX = "wakeport.";
/** The label that makes a container a service. */
export const ENABLE_LABEL: string = `${LABEL_PREFIX}enable`;
