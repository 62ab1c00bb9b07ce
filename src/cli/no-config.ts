import { defaultPaths } from "../config/default-paths.ts";

/** Printed if no configuration exists, as at the first start. */
export const noConfigHelp: string = `wakeport: no configuration found in --config, $WAKEPORT_CONFIG, ${defaultPaths.join(", ")}

Write a wakeport.yaml, for example:

  services:
    ftp:
      ports: ["2121:21"]
      container: vsftpd
      protocol: ftp

or try the demo, which needs no Docker: wakeport run --demo`;
