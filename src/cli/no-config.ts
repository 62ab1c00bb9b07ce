import { defaultPaths } from "../config/load.ts";

/** For somebody who starts wakeport for the first time. */
export const noConfigHelp: string = `wakeport: no configuration: looked at --config, $WAKEPORT_CONFIG, ${defaultPaths.join(", ")}

Write one; this is enough:

  services:
    ftp:
      ports: ["2121:21"]
      container: vsftpd
      protocol: ftp

or look around first, without Docker: wakeport run --demo`;
