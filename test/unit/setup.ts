import { cleanUpAtFileEnd } from "../harness/file-end";

cleanUpAtFileEnd();
